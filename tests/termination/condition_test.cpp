#include <doctest/doctest.h>
#include <termination/conversation.hpp>

#include <chrono>
#include <stdexcept>

namespace moderato {
namespace {

using namespace std::chrono_literals;

Said one(std::string text, MessageKind kind = MessageKind::reply) {
  return Said().say("alice", std::move(text), kind);
}

TEST_CASE("a condition that nobody set never stops and says so") {
  CHECK_FALSE(one("TERMINATE").check(Condition()));
  CHECK_FALSE(Condition().matches(Message::user("TERMINATE")));
  CHECK(Condition().describe() == "never");
  CHECK(never().describe() == "never");
  CHECK(one("x").stops(always()));
  CHECK(Said().stops(always()));
}

TEST_CASE("a stop names the rule, the speaker and the message") {
  const auto stop = Said()
                        .say("bob", "task", MessageKind::task)
                        .say("alice", "All good. DONE")
                        .check(contains("TERMINATE") | contains("DONE"));
  REQUIRE(stop);
  CHECK(stop->reason == StopReason::condition);
  CHECK(stop->rule == R"(contains("DONE"))");
  CHECK(stop->agent == "alice");
  CHECK(stop->detail == "message 2");
}

TEST_CASE("only an agent's own words are looked at for termination") {
  const Condition done = contains("DONE");
  CHECK(one("DONE").stops(done));
  CHECK(one("DONE", MessageKind::human).stops(done));
  CHECK(one("DONE", MessageKind::default_reply).stops(done));
  CHECK_FALSE(one("DONE", MessageKind::task).stops(done));
  CHECK_FALSE(one("DONE", MessageKind::tool_call).stops(done));
  CHECK_FALSE(one("DONE", MessageKind::tool_result).stops(done));
  CHECK_FALSE(one("DONE", MessageKind::code_result).stops(done));
  CHECK_FALSE(Said().stops(done));
}

TEST_CASE("only the last message is looked at") {
  CHECK_FALSE(one("DONE").say("bob", "Really?").stops(contains("DONE")));
}

TEST_CASE("quoted code and quotes end nothing") {
  const Condition stop = contains("TERMINATE");
  CHECK_FALSE(one("Run this:\n```python\nprint('TERMINATE')\n```\nthen tell me.").stops(stop));
  CHECK_FALSE(one("You wrote:\n> say TERMINATE\nand I did not.").stops(stop));
  CHECK_FALSE(one("  ~~~~\n~~~\nTERMINATE\n~~~~\n").stops(stop));
  CHECK_FALSE(one("never closed\n```\nTERMINATE").stops(stop));
  CHECK(one("```\ncode\n```\nTERMINATE").stops(stop));
  CHECK(one("```\ncode\n```\nTERMINATE").stops(equals("TERMINATE")));
  CHECK(one("use `TERMINATE` now").stops(stop));
  CHECK(one("```TERMINATE```").stops(stop));
  CHECK(one("a > b TERMINATE").stops(stop));
}

TEST_CASE("is_termination_msg sees the whole text of whatever message") {
  CHECK(contains("TERMINATE").matches(Message::user("```\nTERMINATE\n```")));
  CHECK(contains("x").matches(Message::tool("id", "x")));
  CHECK(equals("").matches(Message{}));
  const Content parts(std::vector<ContentPart>{TextPart{"TERM"}, TextPart{"INATE"}});
  CHECK(equals("TERMINATE").matches(Message{.content = parts}));
  const Content image(std::vector<ContentPart>{TextPart{"see"}, ImagePart{"u"}});
  CHECK(equals("see<image>").matches(Message{.content = image}));
}

TEST_CASE("equals neither trims nor folds case; ends_with trims the end of the text") {
  CHECK(equals("TERMINATE").matches(Message::user("TERMINATE")));
  for (const char* text : {"TERMINATE.", " TERMINATE", "TERMINATE\n", "terminate", ""}) {
    CAPTURE(text);
    CHECK_FALSE(equals("TERMINATE").matches(Message::user(text)));
  }
  CHECK(ends_with("TERMINATE").matches(Message::user("done. TERMINATE \n\t")));
  CHECK_FALSE(ends_with("TERMINATE").matches(Message::user("TERMINATE now")));
  CHECK(ends_with("").matches(Message::user("")));
}

TEST_CASE("a regular expression is searched anywhere and tells what it found") {
  const Condition rule = regex("(done|finished)\\b");
  CHECK(rule.matches(Message::user("we are finished!")));
  CHECK_FALSE(rule.matches(Message::user("DONE")));
  CHECK_FALSE(regex("^done").matches(Message::user("not done")));
  const auto stop = one("nearly finished").check(rule);
  REQUIRE(stop);
  CHECK(stop->detail == "message 1: \"finished\"");
}

TEST_CASE("a wrong pattern is refused with the reason") {
  CHECK_THROWS_WITH_AS(static_cast<void>(regex("(")), "the pattern \"(\" is wrong: missing ): (",
                       std::invalid_argument);
}

TEST_CASE("a pattern that is slow elsewhere is not slow here") {
  CHECK_FALSE(regex("^(a+)+$").matches(Message::user(std::string(50'000, 'a') + "b")));
}

TEST_CASE("who speaks: the speaker in a chat, the name on a message") {
  CHECK(one("x").stops(said_by("bob", "alice")));
  CHECK_FALSE(one("x").stops(said_by("bob")));
  CHECK_FALSE(one("x", MessageKind::task).stops(said_by("alice")));
  CHECK(said_by("bob").matches(Message::user("x", "bob")));
  CHECK_FALSE(said_by("bob").matches(Message::user("x")));
  CHECK(said_by(std::vector<std::string>{"a", "b"}).describe() == R"(said_by("a", "b"))");
}

TEST_CASE("a tool counts as called when its answer has come") {
  Said said;
  said.call("alice", "submit", "{}", "c1");
  CHECK_FALSE(said.stops(tool_called("submit")));
  said.answer("bob", "ok", "c1");
  CHECK(said.stops(tool_called("submit")));
  CHECK_FALSE(said.stops(tool_called("other")));
}

TEST_CASE("calls without ids are matched with their answers by order") {
  Message calls{.tool_calls = {{"", "first", "{}"}, {"", "second", "{}"}}};
  Message answers{.role = Role::tool};
  answers.tool_responses = {{.content = "1"}};
  Said said;
  said.add("alice", calls, MessageKind::tool_call).add("bob", answers, MessageKind::tool_result);
  CHECK(said.stops(tool_called("first")));
  CHECK_FALSE(said.stops(tool_called("second")));
}

TEST_CASE("legacy functions count as tools") {
  Said said;
  said.add("alice", Message{.function_call = FunctionCall{"f", "{}"}}, MessageKind::tool_call)
      .add("bob", Message{.role = Role::function, .content = "1", .name = "f"},
           MessageKind::tool_result);
  CHECK(said.stops(tool_called("f")));
  CHECK(tool_called("f").matches(Message{.function_call = FunctionCall{"f", "{}"}}));
  CHECK(tool_called("g").matches(Message{.tool_calls = {{"", "g", ""}}}));
  CHECK_FALSE(tool_called("g").matches(Message::user("g")));
}

TEST_CASE("no_tool_calls is every text, and no message that calls") {
  CHECK(one("x").stops(no_tool_calls()));
  CHECK_FALSE(Said().call("alice", "f", "{}").stops(no_tool_calls()));
  CHECK(no_tool_calls().matches(Message::user("x")));
  CHECK_FALSE(no_tool_calls().matches(Message{.tool_calls = {{"", "f", ""}}}));
}

TEST_CASE("a lambda over a message is a condition") {
  const Condition rule = [](const Message& message) { return message.text().size() > 3; };
  CHECK(rule.matches(Message::user("long")));
  CHECK(one("long").stops(rule));
  CHECK_FALSE(one("abc").stops(rule));
  CHECK_FALSE(one("a long task", MessageKind::task).stops(rule));
  CHECK(predicate("long words", [](const Message&) { return true; }).describe() == "long words");
}

TEST_CASE("a lambda over the view is a condition that no single message fulfils") {
  const Condition rule = [](const ConversationView& view) { return view.transcript.size() > 1; };
  CHECK_FALSE(one("x").stops(rule));
  CHECK(one("x").say("bob", "y").stops(rule));
  CHECK_FALSE(rule.matches(Message::user("x")));
}

TEST_CASE("a predicate that throws stops the chat with its words") {
  const Condition rule = contains("a") | predicate("strict", [](const Message&) -> bool {
                           throw std::runtime_error("out of ideas");
                         });
  const auto stop = one("b").check(rule);
  REQUIRE(stop);
  CHECK(stop->reason == StopReason::callback_error);
  CHECK(stop->detail == "strict threw: out of ideas");
  REQUIRE(stop->error);
  CHECK(stop->error->code == ErrorCode::internal);
  CHECK(one("b").check(Condition([](const Message&) -> bool { throw 1; }))->reason ==
        StopReason::callback_error);
  CHECK_THROWS_WITH(static_cast<void>(rule.matches(Message::user("b"))),
                    "strict threw: out of ideas");
  CHECK_THROWS_AS(static_cast<void>(predicate("p", nullptr)), std::invalid_argument);
}

TEST_CASE("numbers stop the chat with the numbers") {
  Said said = one("a").say("bob", "b");
  ConversationView view = said.view();
  view.turns = 3;
  view.calls = 7;
  view.usage = {.input = 100, .output = 20};
  view.elapsed = 1500ms;
  view.now = Instant{10s};

  CHECK(max_messages(2).check(view)->detail == "2 of 2 messages");
  CHECK(max_messages(2).check(view)->reason == StopReason::max_messages);
  CHECK_FALSE(max_messages(3).check(view));
  CHECK(max_turns(3).check(view)->reason == StopReason::max_turns);
  CHECK_FALSE(max_turns(4).check(view));
  CHECK(max_calls(5).check(view)->detail == "7 of 5 model calls");
  CHECK(max_calls(5).check(view)->rule == "max_calls(5)");
  CHECK_FALSE(max_calls(8).check(view));
  CHECK(token_budget(120).check(view)->reason == StopReason::token_budget);
  CHECK_FALSE(token_budget(121).check(view));
  CHECK(token_budget({.input = 500, .output = 20}).check(view)->detail == "20 of 20 output tokens");
  CHECK(token_budget({.total = 9, .input = 8}).describe() == "token_budget(9, input 8)");
  CHECK(elapsed(1s).check(view)->detail == "1.5 s of 1 s");
  CHECK(elapsed(1s).check(view)->reason == StopReason::deadline);
  CHECK_FALSE(elapsed(2s).check(view));
  CHECK(deadline(Instant{10s}).check(view)->reason == StopReason::deadline);
  CHECK_FALSE(deadline(Instant{11s}).check(view));
  CHECK_FALSE(max_messages(1).matches(Message::user("x")));
}

TEST_CASE("a bound on calls or tokens waits until a call of tools is answered") {
  Said said;
  said.call("alice", "f", "{}");
  ConversationView view{.transcript = said.entries(), .calls = 5, .usage = {.input = 9}};
  CHECK_FALSE(max_calls(5).check(view));
  CHECK_FALSE(token_budget(5).check(view));
  said.answer("bob", "1");
  CHECK(max_calls(5).check(view));
  CHECK(token_budget(5).check(view));
}

TEST_CASE("a negative or missing bound is refused") {
  CHECK_THROWS_AS(static_cast<void>(max_messages(-1)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(elapsed(-1s)), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(token_budget(TokenCaps{})), std::invalid_argument);
  CHECK(Said().stops(max_messages(0)));
}

TEST_CASE("a stop from outside is seen") {
  std::stop_source source;
  const Condition mine = external_stop(source.get_token());
  const Said said = one("x");
  CHECK_FALSE(said.stops(mine));
  source.request_stop();
  CHECK(said.check(mine)->reason == StopReason::cancelled);
  CHECK_FALSE(said.stops(external_stop()));
  ConversationView stopped{.transcript = said.entries(), .stop_requested = true};
  CHECK(external_stop().check(stopped)->reason == StopReason::cancelled);
}

}  // namespace
}  // namespace moderato
