#include <doctest/doctest.h>
#include <termination/conversation.hpp>

#include <chrono>

namespace moderato {
namespace {

std::optional<Repetition> found(const Said& said, const RepetitionOptions& options = {}) {
  return find_repetition(said.entries(), options);
}

TEST_CASE("the same message again is suspected at two repeats and ends the chat at three") {
  Said said;
  said.say("bob", "Write a poem.", MessageKind::task);
  for (int i = 0; i < 2; ++i) said.say("alice", "Done.").say("bob", "No: " + std::to_string(i));
  CHECK_FALSE(found(said));
  said.say("alice", "Done.");
  const auto twice = found(said);
  REQUIRE(twice);
  CHECK(twice->pattern == "same message");
  CHECK(twice->agent == "alice");
  CHECK(twice->repeats == 2);
  CHECK(twice->evidence == "\"Done.\"");
  const auto event = suspicion(*twice, {});
  REQUIRE(event);
  CHECK(event->pattern == "same message");
  CHECK(event->repeats == 2);
  CHECK_FALSE(repetition_stop(*twice, {}));
  CHECK_FALSE(said.stops(repetition()));

  said.say("bob", "No!").say("alice", "Done.");
  const auto stop = said.check(repetition());
  REQUIRE(stop);
  CHECK(stop->reason == StopReason::repetition);
  CHECK(stop->rule == "repetition(3)");
  CHECK(stop->agent == "alice");
  CHECK(stop->detail == "same message, 3 repeats of 3 allowed: \"Done.\"");
}

TEST_CASE("another message in between starts the count anew") {
  Said said;
  for (const char* text : {"x", "x", "y", "x", "x"}) said.say("alice", text).say("bob", "");
  CHECK_FALSE(found(said.say("bob", "new")));
}

TEST_CASE("blank replies of a model are repeats like any other") {
  Said said;
  for (int i = 0; i < 4; ++i) said.say("alice", "").say("bob", std::to_string(i));
  REQUIRE(found(said.say("alice", "")));
}

TEST_CASE("default replies and a person's words are no loop") {
  Said said;
  for (int i = 0; i < 9; ++i) {
    said.say("user", "", MessageKind::default_reply).say("alice", "step " + std::to_string(i));
    CHECK_FALSE(found(said));
  }
  Said blank;
  for (int i = 0; i < 9; ++i) {
    blank.say(i % 2 == 0 ? "a" : "b", "", MessageKind::default_reply);
    CHECK_FALSE(found(blank));
  }
  Said person;
  for (int i = 0; i < 9; ++i) {
    person.say("alice", "Anything else?").say("user", "continue", MessageKind::human);
    CHECK_FALSE(found(person));
  }
}

TEST_CASE("a cycle of two agents is found") {
  Said said;
  for (int i = 0; i < 3; ++i) said.say("alice", "After you.").say("bob", "No, after you.");
  const auto twice = found(said);
  REQUIRE(twice);
  CHECK(twice->pattern == "cycle of 2");
  CHECK(twice->repeats == 2);
  CHECK(said.say("alice", "After you.").stops(repetition()));
}

TEST_CASE("a longer cycle is found, in which no message follows itself") {
  Said said;
  for (int i = 0; i < 4; ++i) {
    said.say("alice", "left").say("bob", "ok").say("alice", "right").say("bob", "why");
  }
  const auto thrice = found(said);
  REQUIRE(thrice);
  CHECK(thrice->pattern == "cycle of 4");
  CHECK(thrice->repeats == 3);
  CHECK(said.stops(repetition()));
  CHECK_FALSE(found(said, {.max_cycle = 3}));
}

Said polls(int count, const char* last_result) {
  Said said;
  for (int i = 0; i < count; ++i) {
    const std::string id = "call_" + std::to_string(i);
    said.call("alice", "status", R"({"job":1})", id);
    said.answer("bob", i + 1 < count ? "running" : last_result, id);
  }
  return said;
}

TEST_CASE("the same tool call with the same result is a loop, whatever its ids") {
  const auto thrice = found(polls(4, "running"));
  REQUIRE(thrice);
  CHECK(thrice->pattern == "same tool call");
  CHECK(thrice->agent == "alice");
  CHECK(thrice->repeats == 3);
  CHECK(thrice->evidence == "\"status({\\\"job\\\":1})\"");
  CHECK(polls(4, "running").stops(repetition()));
}

TEST_CASE("the same tool call with another result is progress") {
  CHECK_FALSE(found(polls(4, "finished")));
}

TEST_CASE("a call that is not answered yet is not judged") {
  Said said = polls(4, "running");
  said.call("alice", "status", R"({"job":1})");
  CHECK_FALSE(found(said));
}

TEST_CASE("a tool that is marked repeatable may be polled") {
  const RepetitionOptions options{.repeatable_tools = {"status"}};
  CHECK_FALSE(found(polls(9, "running"), options));
  Said talk;
  for (int i = 0; i < 5; ++i) {
    talk.say("alice", "I look again.")
        .say("bob", "ok")
        .call("alice", "status", "{}")
        .answer("bob", "-");
  }
  CHECK_FALSE(found(talk, options));
  CHECK(found(talk));
}

TEST_CASE("the same code is a loop only if it prints the same") {
  Said same;
  Said moving;
  for (int i = 0; i < 4; ++i) {
    same.say("alice", "```sh\ndate\n```").say("bob", "noon", MessageKind::code_result);
    moving.say("alice", "```sh\ndate\n```")
        .say("bob", "noon and " + std::to_string(i), MessageKind::code_result);
  }
  CHECK(same.stops(repetition()));
  CHECK_FALSE(found(moving));
  CHECK_FALSE(found(moving.say("alice", "```sh\ndate\n```")));
}

TEST_CASE("two agents that thank each other are told to stop") {
  Said said;
  said.say("bob", "Translate the letter.", MessageKind::task)
      .say("alice", "Sehr geehrte Damen und Herren")
      .say("bob", "Thank you, the letter is great!")
      .say("alice", "You’re welcome! Have a great day 😊")
      .say("bob", "Thanks, you too!");
  const auto twice = found(said);
  REQUIRE(twice);
  CHECK(twice->pattern == "farewells");
  CHECK(twice->repeats == 2);
  CHECK_FALSE(said.stops(repetition()));
  said.say("alice", "Goodbye!");
  CHECK(said.check(repetition())->detail == "farewells, 3 repeats of 3 allowed: \"Goodbye!\"");
}

TEST_CASE("thanks that bring something new are no farewell") {
  Said said;
  said.say("bob", "Thanks! And item 2?").say("alice", "Welcome: copper.");
  said.say("bob", "Thanks! And item 3?").say("alice", "Welcome: zinc.");
  CHECK_FALSE(found(said));
  Said one_sided;
  for (const char* text : {"Thanks!", "Thank you!", "Thanks a lot!", "Bye!"}) {
    one_sided.say("bob", text);
  }
  CHECK_FALSE(found(one_sided));
}

TEST_CASE("farewells in other languages are told by their words") {
  Said said;
  said.say("a", "danke schön").say("b", "danke gleichfalls").say("a", "danke schön");
  said.say("b", "danke gleichfalls").say("a", "danke");
  CHECK_FALSE(found(said, {.report_after = 3}));
  const RepetitionOptions german{.report_after = 3,
                                 .courtesy_words = {"danke", "schön", "gleichfalls"}};
  REQUIRE(found(said, german));
  CHECK(found(said, german)->pattern == "farewells");
}

TEST_CASE("thresholds of zero switch reporting and stopping off") {
  Said said;
  for (int i = 0; i < 9; ++i) said.say("alice", "x");
  CHECK_FALSE(found(said, {.report_after = 0, .stop_after = 0}));
  const RepetitionOptions report_only{.stop_after = 0};
  REQUIRE(found(said, report_only));
  CHECK(suspicion(*found(said, report_only), report_only));
  CHECK_FALSE(repetition_stop(*found(said, report_only), report_only));
  CHECK_FALSE(said.stops(repetition(report_only)));
  const RepetitionOptions stop_only{.report_after = 0};
  CHECK_FALSE(suspicion(*found(said, stop_only), stop_only));
  CHECK(said.stops(repetition(stop_only)));
  CHECK_FALSE(find_repetition({}, {}));
}

TEST_CASE("long evidence is cut between characters") {
  Said said;
  std::string text;
  for (int i = 0; i < 100; ++i) text += "äö";
  for (int i = 0; i < 4; ++i) said.say("alice", text);
  REQUIRE(found(said));
  CHECK(found(said)->evidence.size() < 200);
  CHECK(is_valid_utf8(found(said)->evidence));
}

TEST_CASE("only a window is looked at, however long the talk") {
  Said said;
  for (int i = 0; i < 20'000; ++i) said.say("alice", "word " + std::to_string(i));
  for (int i = 0; i < 3; ++i) said.say("alice", "x");
  const Transcript& all = said.entries();
  const std::span<const TranscriptEntry> newest = std::span(all).last(24);
  const auto in_all = find_repetition(all);
  const auto in_window = find_repetition(newest);
  REQUIRE(in_all);
  REQUIRE(in_window);
  CHECK(in_all->repeats == in_window->repeats);
  // 100 messages of repeats, but no more than the window holds are counted.
  for (int i = 0; i < 100; ++i) said.say("alice", "x");
  CHECK(find_repetition(said.entries())->repeats == 23);
}

}  // namespace
}  // namespace moderato
