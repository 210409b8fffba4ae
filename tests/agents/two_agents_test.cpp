#include <doctest/doctest.h>

#include <stdexcept>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;

TEST_CASE("two agents talk until one of them says the closing word") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {"first", "TERMINATE"})});
  const UserProxyAgent user = quiet_user("go on");

  const ChatResult chat = user.initiate_chat(alice, "hello");

  CHECK(spoken(chat.transcript) ==
        Lines{"user: hello", "alice: first", "user: go on", "alice: TERMINATE"});
  CHECK(chat.stop.reason == StopReason::termination_message);
  CHECK(chat.stop.agent == "user");
  CHECK(chat.stop.rule == "equals(\"TERMINATE\")");
  CHECK(chat.summary == "");
  CHECK(chat.calls == 2);
  CHECK(chat.turns == 2);
  CHECK(chat.usage.total() > 0);
}

TEST_CASE("each side keeps its own words as assistant and the other's as user") {
  Simulation world;
  Session session(world);
  AssistantAgent alice({.name = "alice", .model = says(world, {"hi"})});
  const UserProxyAgent user = quiet_user();
  user.initiate_chat(alice, "hello", {.max_turns = 1, .session = &session});

  CHECK(shown(Party(session, user).history(alice)) ==
        Lines{"assistant user: hello", "user alice: hi"});
  CHECK(shown(Party(session, alice).history(user)) ==
        Lines{"user user: hello", "assistant alice: hi"});
}

TEST_CASE("the transcript says what kind of message each one is") {
  Simulation world;
  const Tool echo = tool(
      "echo", "says it again", [](std::string text) { return text; }, arg("text"));
  AssistantAgent alice({.name = "alice",
                        .model = says(world, {calls("echo", R"({"text":"x"})"), "done"}),
                        .tools = {echo}});
  UserProxyAgent user({.name = "user",
                       .human_input_mode = HumanInputMode::always,
                       .human_input = scripted_input({"", "thanks", "exit"})});
  const ChatResult chat = user.initiate_chat(alice, "go", {.max_turns = 3});
  std::vector<MessageKind> kinds;
  for (const TranscriptEntry& entry : chat.transcript) kinds.push_back(entry.kind);
  CHECK(kinds == std::vector{MessageKind::task, MessageKind::tool_call, MessageKind::tool_result,
                             MessageKind::reply, MessageKind::human});
  CHECK(chat.human_inputs == Lines{"", "thanks"});
  CHECK(chat.stop.reason == StopReason::model_error);  // the script has ended
  CHECK(chat.transcript.size() == 5);
}

TEST_CASE("agents answer ten times in a row and no more, unless they are told to") {
  Simulation world;
  AssistantAgent alice(
      {.name = "alice", .model = repeats(world, "still here"), .max_consecutive_auto_reply = 100});
  const ChatResult chat =
      quiet_user("and?").initiate_chat(alice, "hello", {.repetition = {.stop_after = 0}});
  CHECK(chat.stop.reason == StopReason::max_consecutive_auto_reply);
  CHECK(chat.stop.agent == "user");
  CHECK(chat.calls == 11);
  CHECK(chat.transcript.size() == 22);
}

TEST_CASE("one definition serves many conversations at once") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = repeats(world, "TERMINATE")});
  const UserProxyAgent user = quiet_user();
  std::vector<int> numbers(200);
  for (int i = 0; i < 200; ++i) numbers[static_cast<std::size_t>(i)] = i;
  const auto results = world.parallel(numbers, {.max_in_flight = 50}, [&](int number) {
    return user.initiate_chat(alice, "question " + std::to_string(number));
  });
  for (int i = 0; i < 200; ++i) {
    CHECK(spoken(results[static_cast<std::size_t>(i)].transcript) ==
          Lines{"user: question " + std::to_string(i), "alice: TERMINATE"});
  }
}

TEST_CASE("two agents without a model need no runtime of the caller's") {
  ConversableAgent alice({.name = "alice",
                          .human_input_mode = HumanInputMode::never,
                          .default_auto_reply = "TERMINATE"});
  const ChatResult chat = quiet_user().initiate_chat(alice, "hello");
  CHECK(spoken(chat.transcript) == Lines{"user: hello", "alice: TERMINATE"});
  CHECK(chat.calls == 0);
  CHECK(chat.usage.source == UsageSource::none);
}

TEST_CASE("misuse throws before anything is said") {
  Simulation world;
  CHECK_THROWS_AS(AssistantAgent({}), std::invalid_argument);
  CHECK_THROWS_AS(UserProxyAgent({.name = "u", .max_consecutive_auto_reply = -1}),
                  std::invalid_argument);
  AssistantAgent alice({.name = "alice", .model = repeats(world, "hi")});
  const UserProxyAgent user = quiet_user();
  CHECK_THROWS_AS(alice.initiate_chat(alice, "hello"), std::invalid_argument);
  CHECK_THROWS_AS(user.initiate_chat(alice, "x", {.token_budget = -1}), std::invalid_argument);
  CHECK_THROWS_AS(user.initiate_chat(alice, "x", {.on_budget = OnBudget::final_answer}),
                  std::invalid_argument);
  UserProxyAgent other({.name = "other"});
  CHECK_THROWS_AS(user.initiate_chat(other, "x", {.summary_method = reflection_with_llm()}),
                  std::invalid_argument);
  Simulation elsewhere;
  Session session(elsewhere);
  CHECK_THROWS_AS(user.initiate_chat(alice, "x", {.session = &session}), std::invalid_argument);
}

TEST_CASE("a chat tells its events in order, and a silent one keeps its messages to itself") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {"TERMINATE", "TERMINATE"})});
  const auto told = [&](bool silent) {
    Lines names;
    quiet_user().initiate_chat(
        alice, "hello",
        {.observer = Observer([&](const Event& event) { names.emplace_back(name_of(event)); }),
         .silent = silent});
    std::erase_if(names, [](const std::string& name) { return name.starts_with("call_"); });
    return names;
  };
  CHECK(told(false) == Lines{"chat_started", "message_added", "message_added", "stopped"});
  CHECK(told(true) == Lines{"chat_started", "stopped"});
}

TEST_CASE("a streamed chat tells the pieces of each reply") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {"one two three"})});
  std::string heard;
  quiet_user().initiate_chat(alice, "hello",
                             {.max_turns = 1,
                              .observer = Observer([&](const Event& event) {
                                if (const auto* delta = std::get_if<TokenDelta>(&event.data)) {
                                  heard += delta->text;
                                }
                              }),
                              .stream = true});
  CHECK(heard == "one two three");
}

TEST_CASE("the same session goes on from its histories, unless they are cleared") {
  Simulation world;
  Session session(world);
  AssistantAgent alice({.name = "alice", .model = repeats(world, "yes")});
  const UserProxyAgent user = quiet_user();
  user.initiate_chat(alice, "one", {.max_turns = 1, .session = &session});
  const ChatResult second = user.initiate_chat(alice, "two", {.max_turns = 1, .session = &session});
  CHECK(second.chat_history.size() == 4);
  CHECK(spoken(second.transcript) == Lines{"user: two", "alice: yes"});
  CHECK(second.calls == 1);
  const ChatResult third = user.initiate_chat(
      alice, "three", {.max_turns = 1, .session = &session, .clear_history = true});
  CHECK(third.chat_history.size() == 2);
  CHECK(session.transcript().size() == 6);
}

TEST_CASE(
    "an agent without a model of its own answers with tools, its human, or its default reply") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {calls("nope", "{}"), "TERMINATE"})});
  const ChatResult chat = quiet_user().initiate_chat(alice, "hello");
  CHECK(spoken(chat.transcript) == Lines{"user: hello",
                                         "alice: ", "user: Error: Function nope not found.",
                                         "alice: TERMINATE"});
}
