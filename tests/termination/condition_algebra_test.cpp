#include <doctest/doctest.h>
#include <termination/conversation.hpp>

#include <array>

namespace moderato {
namespace {

Said one(std::string text, MessageKind kind = MessageKind::reply) {
  return Said().say("alice", std::move(text), kind);
}

// About one("yes").
const Condition yes = contains("yes");
const Condition no = contains("other");

TEST_CASE("or takes the first that is true, and needs only one") {
  const Said said = one("yes");
  CHECK(said.stops(yes | no));
  CHECK(said.stops(no | yes));
  CHECK_FALSE(said.stops(no | no));
  CHECK(said.check(contains("y") | contains("es"))->rule == R"(contains("y"))");
  CHECK(said.check(no | max_messages(1))->reason == StopReason::max_messages);
}

TEST_CASE("and needs both, and tells of both") {
  const Said said = one("yes");
  CHECK_FALSE(said.stops(yes & no));
  CHECK_FALSE(said.stops(no & yes));
  const auto stop = said.check(yes & max_messages(1));
  REQUIRE(stop);
  CHECK(stop->reason == StopReason::condition);
  CHECK(stop->rule == R"(contains("yes") & max_messages(1))");
  CHECK(stop->detail == "message 1; 1 of 1 messages");
  CHECK(said.check(max_messages(0) & max_messages(1))->reason == StopReason::max_messages);
}

TEST_CASE("not turns an opinion around, and leaves it open where there is none") {
  CHECK(one("yes").stops(!no));
  CHECK_FALSE(one("yes").stops(!yes));
  CHECK(one("yes").stops(!!yes));
  CHECK_FALSE(one("web page", MessageKind::tool_result).stops(!contains("CONTINUE")));
  CHECK_FALSE(one("the task", MessageKind::task).stops(!contains("CONTINUE")));
  CHECK_FALSE((!max_messages(9)).matches(Message::user("x")));
  CHECK(one("x").stops(!Condition()));
}

TEST_CASE("rules about words and about numbers combine on messages without own words") {
  const Said result = one("yes", MessageKind::tool_result);
  CHECK(result.stops(yes | max_messages(1)));
  CHECK(result.stops(max_messages(1) | yes));
  CHECK_FALSE(result.stops(yes & max_messages(1)));
  CHECK_FALSE(result.stops(!(yes | max_messages(5))));
  CHECK(result.stops(!(yes & max_messages(5))));
  CHECK((contains("x") | max_messages(1)).matches(Message::user("x")));
  CHECK_FALSE((contains("x") & max_messages(1)).matches(Message::user("x")));
}

TEST_CASE("De Morgan's laws hold for every pair of truths") {
  const Condition open = max_messages(1);  // no opinion about a single message
  const Message message = Message::assistant("yes");
  const std::array rules{yes, no, open};
  for (const Condition& a : rules) {
    for (const Condition& b : rules) {
      CAPTURE(a.describe());
      CAPTURE(b.describe());
      CHECK((!(a | b)).matches(message) == ((!a) & (!b)).matches(message));
      CHECK((!(a & b)).matches(message) == ((!a) | (!b)).matches(message));
      CHECK((a | b).matches(message) == (b | a).matches(message));
      CHECK((a & b).matches(message) == (b & a).matches(message));
    }
  }
}

TEST_CASE("a condition that was never set is neutral in or and decisive in and") {
  Condition built;
  for (const char* word : {"DONE", "TERMINATE"}) built = built | contains(word);
  CHECK(built.describe() == R"(contains("DONE") | contains("TERMINATE"))");
  CHECK((Condition() & yes).describe() == "never");
  CHECK((yes | Condition()).describe() == R"(contains("yes"))");
}

TEST_CASE("composites describe themselves with the parentheses they need") {
  const Condition a = contains("a");
  const Condition b = equals("b");
  const Condition c = max_messages(3);
  CHECK((a | b | c).describe() == R"(contains("a") | equals("b") | max_messages(3))");
  CHECK((a | (b & c)).describe() == R"(contains("a") | (equals("b") & max_messages(3)))");
  CHECK(((!(a | b)) & (!c)).describe() == R"(!(contains("a") | equals("b")) & !max_messages(3))");
  CHECK(contains("a \"b\"\n").describe() == R"(contains("a \"b\"\n"))");
}

TEST_CASE("ever remembers what held at an earlier message") {
  const Condition both = ever(contains("tests pass")) & ever(contains("approved"));
  Said said = one("approved").say("bob", "hm").say("alice", "the tests pass");
  CHECK_FALSE(said.stops(contains("tests pass") & contains("approved")));
  CHECK(said.stops(both));
  CHECK_FALSE(one("approved").stops(both));
  CHECK(said.stops(!ever(contains("never said"))));
  CHECK_FALSE(one("approved", MessageKind::task).stops(ever(contains("approved"))));
  CHECK(both.describe() == R"(ever(contains("tests pass")) & ever(contains("approved")))");
}

TEST_CASE("copies of a condition serve many conversations") {
  const Condition rule = contains("DONE") & said_by("alice");
  const Condition copy = rule;
  CHECK(one("DONE").stops(rule));
  CHECK_FALSE(one("go on").stops(copy));
  CHECK(one("DONE").stops(copy));
}

}  // namespace
}  // namespace moderato
