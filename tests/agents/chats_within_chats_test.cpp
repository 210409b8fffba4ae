// What bounds a chat bounds what runs inside it: nested chats, agents as tools, graphs, queues,
// planners.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>

#include <moderato/agents/agent_tool.hpp>
#include <moderato/agents/graph/graph_agent.hpp>
#include <moderato/agents/sequence/initiate_chats.hpp>
#include <moderato/agents/sequence/nested_chats.hpp>
#include <moderato/core/wait.hpp>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;
using namespace std::chrono_literals;

namespace {

/// Says another thing each time, after 10 s, and for ever.
AssistantAgent chatterer(Runtime& world, const std::string& name) {
  auto said = std::make_shared<int>(0);
  return AssistantAgent(
      {.name = name,
       .model = world.model(scripted([=](const ModelRequest&) -> Result<ModelReply> {
                              sleep_for(10s);
                              return ModelReply{.message = Message::assistant(
                                                    name + " " + std::to_string(++*said)),
                                                .usage = {.input = 100, .output = 10}};
                            }),
                            {.limiter = unlimited(), .retry = {.max_attempts = 1}})});
}

/// Asks an agent that is a tool, and then says "done".
AssistantAgent caller(Runtime& world, const ConversableAgent& expert) {
  return AssistantAgent({.name = "caller",
                         .model = says(world, {calls("expert", R"({"task": "think"})"), "done"},
                                       {.on_exhausted = OnExhausted::cycle}),
                         .tools = {agent_tool(expert)}});
}

struct Shape {
  const char* name;
  std::function<ChatResult(Runtime&, const ChatOptions&)> run;
};

ConversableAgent host_of_nested(Runtime& world) {
  return ConversableAgent({.name = "host",
                           .human_input_mode = HumanInputMode::never,
                           .replies = {nested_chats({{.sender = chatterer(world, "a"),
                                                      .recipient = chatterer(world, "b"),
                                                      .options = {.max_turns = 20}}},
                                                    "user")}});
}

/// Somebody who does not know when to stop, in every place inside a chat.
const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all{
      {"nested chats",
       [](Runtime& world, const ChatOptions& options) {
         return quiet_user().initiate_chat(host_of_nested(world), "go", options);
       }},
      {"an agent as a tool",
       [](Runtime& world, const ChatOptions& options) {
         const ConversableAgent expert(
             {.name = "expert",
              .description = "knows it",
              .human_input_mode = HumanInputMode::never,
              .replies = {nested_chats({{.sender = chatterer(world, "a"),
                                         .recipient = chatterer(world, "b"),
                                         .options = {.max_turns = 20}}},
                                       Trigger::any_sender())}});
         return quiet_user().initiate_chat(caller(world, expert), "go", options);
       }},
      {"a graph with two branches",
       [](Runtime& world, const ChatOptions& options) {
         const auto host = [&](const std::string& name) {
           return ConversableAgent({.name = name,
                                    .human_input_mode = HumanInputMode::never,
                                    .replies = {nested_chats({{.sender = chatterer(world, "a"),
                                                               .recipient = chatterer(world, "b"),
                                                               .options = {.max_turns = 20}}},
                                                             Trigger::any_sender())}});
         };
         const GraphAgent graph(
             {.agents = {chatterer(world, "start"), host("left"), host("right"),
                         chatterer(world, "end")},
              .edges = {{"start", "left"}, {"start", "right"}, {"left", "end"}, {"right", "end"}},
              .joins = {{"end", Join::all}}});
         return quiet_user().initiate_chat(graph, "go", options);
       }},
  };
  return all;
}

}  // namespace

TEST_CASE("a bound of a chat ends what runs inside it, and a replay ends at the same place") {
  const auto journal = std::make_shared<MemoryJournal>();
  for (const Shape& shape : shapes()) {
    CAPTURE(shape.name);
    ChatResult results[3];
    int n = 0;
    for (const JournalMode mode : {JournalMode::record, JournalMode::replay, JournalMode::resume}) {
      CAPTURE(static_cast<int>(mode));
      Simulation world;
      Session session(world, {.id = shape.name, .journal = journal, .journal_mode = mode});
      results[n++] = shape.run(world, {.termination = max_calls(7), .session = &session});
      const ChatResult& chat = results[n - 1];
      CHECK(chat.stop.reason == StopReason::max_calls);
      CHECK(chat.stop.rule == "max_calls(7)");
      CHECK(chat.calls >= 7);
      CHECK(chat.calls <= 8);  // of two branches both may have begun one
      CHECK(session.totals().snapshot().calls == chat.calls);
    }
    for (int i = 1; i < 3; ++i) {
      CHECK(results[i].stop == results[0].stop);
      CHECK(results[i].calls == results[0].calls);
      CHECK(spoken(results[i].transcript) == spoken(results[0].transcript));
    }
  }
}

TEST_CASE("time, tokens and a token from outside end what runs inside a chat, too") {
  for (const Shape& shape : shapes()) {
    CAPTURE(shape.name);
    {
      Simulation world;
      Session session(world);
      const ChatResult chat = shape.run(world, {.termination = elapsed(45s), .session = &session});
      CHECK(chat.stop.reason == StopReason::deadline);
      CHECK(chat.stop.rule == "elapsed(45 s)");
      CHECK(world.clock().now().time_since_epoch() == 50s);
    }
    {
      Simulation world;
      Session session(world);
      const ChatResult chat =
          shape.run(world, {.termination = token_budget(500), .session = &session});
      CHECK(chat.stop.reason == StopReason::token_budget);
      CHECK(chat.usage.total() >= 500);
      CHECK(chat.usage.total() <= 700);
    }
    {
      Simulation world;
      Session session(world);
      std::stop_source enough;
      auto ended = world.spawn([&] {
        sleep_for(35s);
        enough.request_stop();
      });
      const ChatResult chat =
          shape.run(world, {.termination = external_stop(enough.get_token()), .session = &session});
      ended.join();
      CHECK(chat.stop.reason == StopReason::cancelled);
      CHECK(chat.stop.rule == "external_stop");
      CHECK(world.clock().now().time_since_epoch() == 40s);
    }
  }
}

TEST_CASE("words in a chat inside end only that one") {
  Simulation world;
  const AssistantAgent inner({.name = "inner", .model = repeats(world, "ENOUGH")});
  const ConversableAgent host(
      {.name = "host",
       .human_input_mode = HumanInputMode::never,
       .default_auto_reply = Content("mine"),
       .replies = {nested_chats({{.recipient = inner, .options = {.max_turns = 1}}}, "nobody")}});
  const ConversableAgent asks(
      {.name = "asks",
       .human_input_mode = HumanInputMode::never,
       .replies = {nested_chats({{.recipient = inner, .options = {.max_turns = 2}}}, "user")}});
  const ChatResult other =
      quiet_user().initiate_chat(host, "go", {.max_turns = 2, .termination = contains("ENOUGH")});
  CHECK(other.stop.reason == StopReason::max_turns);
  const ChatResult chat =
      quiet_user().initiate_chat(asks, "go", {.max_turns = 2, .termination = contains("ENOUGH")});
  CHECK(chat.stop.reason == StopReason::condition);
  CHECK(spoken(chat.transcript) == Lines{"user: go", "asks: ENOUGH"});
}

TEST_CASE("a silent chat is silent in its graphs, too") {
  Simulation world;
  const GraphAgent graph(
      {.agents = {chatterer(world, "a"), chatterer(world, "b")}, .edges = {{"a", "b"}}});
  int said = 0;
  const Observer count([&](const Event& event) {
    if (std::holds_alternative<MessageAdded>(event.data)) ++said;
  });
  quiet_user().initiate_chat(graph, "go", {.observer = count, .silent = true});
  CHECK(said == 0);
  quiet_user().initiate_chat(graph, "go", {.observer = count});
  CHECK(said > 0);
}

TEST_CASE("an agent of a graph that only calls tools ends the graph, and the stop says so") {
  Simulation world;
  const Tool poll = tool(
      "poll", "Looks again", [] { return std::string("not yet"); },
      ToolOptions{.repeatable = true});
  const AssistantAgent waits(
      {.name = "waits",
       .model = world.model(scripted([](const ModelRequest&) -> Result<ModelReply> {
                              return ModelReply{.message = calls("poll", "{}")};
                            }),
                            {.limiter = unlimited()}),
       .tools = {poll}});
  const GraphAgent graph({.agents = {waits}, .edges = {}, .max_tool_rounds = 3});
  const ChatResult chat = quiet_user().initiate_chat(graph, "go");
  CHECK(chat.stop.reason == StopReason::max_messages);
  CHECK(to_string(chat.stop) ==
        "max_messages: max_tool_rounds(3) by waits (calls of tools, and no answer after so many "
        "rounds of them)");
}
