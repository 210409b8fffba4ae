// One test for each behaviour of AutoGen 0.2 between two agents that we change on purpose.
#include <doctest/doctest.h>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;

TEST_CASE("one-sided-turns: no reply ends a chat with max_turns, too") {
  Simulation world;
  AssistantAgent alice(
      {.name = "alice", .model = repeats(world, "a"), .max_consecutive_auto_reply = 1});
  const ChatResult chat = quiet_user("go on").initiate_chat(alice, "hello", {.max_turns = 5});
  CHECK(spoken(chat.transcript) == Lines{"user: hello", "alice: a", "user: go on"});
  CHECK(chat.stop.reason == StopReason::max_consecutive_auto_reply);
  CHECK(chat.stop.agent == "alice");
}

TEST_CASE("empty-message-at-cap-0: enter gives the automatic reply that the prompt promises") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = repeats(world, "a")});
  for (const HumanInputMode mode : {HumanInputMode::always, HumanInputMode::terminate}) {
    UserProxyAgent user({.name = "user",
                         .human_input_mode = mode,
                         .max_consecutive_auto_reply = 0,
                         .default_auto_reply = "automatic",
                         .human_input = scripted_input({"", "exit"})});
    const ChatResult chat = user.initiate_chat(alice, "hello");
    CHECK(spoken(chat.transcript) ==
          Lines{"user: hello", "alice: a", "user: automatic", "alice: a"});
    CHECK(chat.stop.reason == StopReason::human_exit);
  }
}

TEST_CASE("summary-strips-inside-words: only the whole word TERMINATE is removed") {
  CHECK(last_message_summary("the result is INDETERMINATE") == "the result is INDETERMINATE");
  CHECK(last_message_summary("done. TERMINATE") == "done. ");
  CHECK(last_message_summary("TERMINATE x TERMINATE") == " x ");
  CHECK(last_message_summary("éTERMINATE") == "éTERMINATE");
}

TEST_CASE("summary-not-text: a reflection that calls a tool is an error, and the chat is kept") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {"a", calls("f", "{}")})});
  const ChatResult chat = quiet_user().initiate_chat(
      alice, "hello", {.max_turns = 1, .summary_method = reflection_with_llm()});
  CHECK(chat.summary == "");
  REQUIRE(chat.summary_error);
  CHECK(chat.summary_error->code == ErrorCode::protocol);
  CHECK(chat.stop.reason == StopReason::max_turns);
  CHECK(chat.transcript.size() == 2);
  CHECK(chat.calls == 2);
}

TEST_CASE(
    "hook-changes-stored-message: what a hook makes of the last message is for one reply only") {
  Simulation world;
  std::vector<Lines> prompts;
  AssistantAgent alice({.name = "alice",
                        .system_message = "s",
                        .model = listens(world, prompts),
                        .hooks = {.process_last_received_message = {[](const Content& content) {
                                    return Content(content.text() + "!");
                                  }}}});
  quiet_user("go on").initiate_chat(alice, "hello", {.max_turns = 2});
  REQUIRE(prompts.size() == 2);
  CHECK(prompts[0] == Lines{"system : s", "user user: hello!"});
  CHECK(prompts[1] ==
        Lines{"system : s", "user user: hello", "assistant alice: ok", "user user: go on!"});
}

TEST_CASE("context-removed-from-stored-message: a template stays filled in every later request") {
  Simulation world;
  Session session(world);
  std::vector<Lines> prompts;
  AssistantAgent alice({.name = "alice",
                        .system_message = "s",
                        .model = listens(world, prompts),
                        .allow_format_str_template = true});
  const UserProxyAgent user = quiet_user("go on");
  Message opening = Message::user("Hello {who}, {unknown} {{x}}");
  opening.context = {{"who", "world"}};
  user.initiate_chat(alice, opening, {.max_turns = 2, .session = &session});
  REQUIRE(prompts.size() == 2);
  CHECK(prompts[0][1] == "user user: Hello world, {unknown} {x}");
  CHECK(prompts[1][1] == "user user: Hello world, {unknown} {x}");
  const Message& stored = **Party(session, alice).history(user).front();
  CHECK(stored.text() == "Hello {who}, {unknown} {{x}}");
  CHECK(stored.context == Json{{"who", "world"}});
}

TEST_CASE("open-call-in-request: a call that the end of a chat left open is answered later") {
  Simulation world;
  Session session(world);
  std::vector<MessageList> prompts;
  const Model model =
      world.model(scripted([&](const ModelRequest& request) -> Result<ModelReply> {
                    prompts.push_back(request.messages);
                    return ModelReply{.message = prompts.size() == 1 ? calls("f", "{}", "call_7")
                                                                     : Message::assistant("ok")};
                  }),
                  {.limiter = unlimited()});
  AssistantAgent alice({.name = "alice", .model = model});
  const UserProxyAgent user = quiet_user();
  user.initiate_chat(alice, "one", {.max_turns = 1, .session = &session});
  user.initiate_chat(alice, "two", {.max_turns = 1, .session = &session, .clear_history = false});
  REQUIRE(prompts.size() == 2);
  const MessageList& later = prompts[1];
  REQUIRE(later.size() >= 3);
  const Message& call = **later[later.size() - 3];
  const Message& answer = **later[later.size() - 2];
  CHECK(call.tool_calls.at(0).id == "call_7");
  CHECK(answer.role == Role::tool);
  CHECK(answer.tool_call_id == "call_7");
  CHECK((*later.back())->text() == "two");
  // What was said stays as it was.
  CHECK(Party(session, alice).history(user).size() == 4);
}

TEST_CASE("python-crash: a message function without a message, and arguments that are null") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {calls("f", "null"), "TERMINATE"})});
  const ChatResult nothing = quiet_user().initiate_chat(
      alice, [](const OpeningRequest&) -> std::optional<Message> { return std::nullopt; });
  CHECK(nothing.stop.reason == StopReason::no_initial_message);
  CHECK(nothing.transcript.empty());

  const Tool f = tool(
      "f", "does nothing", [](std::string text) { return text; }, arg("text"));
  UserProxyAgent user({.name = "user", .tools = {f}, .human_input_mode = HumanInputMode::never});
  const ChatResult chat = user.initiate_chat(alice, "go");
  CHECK((*chat.transcript.at(2).message)->text().starts_with("Error: "));
  CHECK(chat.stop.reason == StopReason::termination_message);
}

TEST_CASE("results-share-one-history: a result keeps its history when the session goes on") {
  Simulation world;
  Session session(world);
  AssistantAgent alice({.name = "alice", .model = repeats(world, "a")});
  const UserProxyAgent user = quiet_user();
  const ChatResult first = user.initiate_chat(alice, "one", {.max_turns = 1, .session = &session});
  user.initiate_chat(alice, "two", {.max_turns = 1, .session = &session, .clear_history = true});
  CHECK(shown(first.chat_history) == Lines{"assistant user: one", "user alice: a"});
}

TEST_CASE("recursion: a chat of 10,000 turns is a loop") {
  ConversableAgent bob({.name = "bob",
                        .human_input_mode = HumanInputMode::never,
                        .max_consecutive_auto_reply = 1'000'000,
                        .default_auto_reply = "b"});
  const ChatResult longest =
      quiet_user("a", 9'999).initiate_chat(bob, "hello", {.max_messages = 30'000});
  CHECK(longest.stop.reason == StopReason::max_consecutive_auto_reply);
  CHECK(longest.transcript.size() == 20'000);
}
