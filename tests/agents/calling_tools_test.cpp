#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <moderato/agents/worker_call.hpp>
#include <moderato/core/wait.hpp>
#include <stdexcept>
#include <thread>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;
using namespace std::chrono_literals;

namespace {

Tool adder() {
  return tool(
      "add", "adds", [](int a, int b) { return a + b; }, arg("a"), arg("b"));
}

}  // namespace

TEST_CASE("whoever receives a call runs the tool that the caller was offered") {
  Simulation world;
  AssistantAgent alice({.name = "alice",
                        .model = says(world, {calls("add", R"({"a":2,"b":3})"), "TERMINATE"}),
                        .tools = {adder()}});
  const ChatResult chat = quiet_user().initiate_chat(alice, "2 + 3?");
  CHECK(spoken(chat.transcript) == Lines{"user: 2 + 3?", "alice: ", "user: 5", "alice: TERMINATE"});
  CHECK((*chat.transcript[2].message)->role == Role::tool);
}

TEST_CASE("its own tool of that name comes before the caller's") {
  Simulation world;
  AssistantAgent alice({.name = "alice",
                        .model = says(world, {calls("add", R"({"a":2,"b":3})"), "TERMINATE"}),
                        .tools = {adder()}});
  UserProxyAgent user(
      {.name = "user",
       .human_input_mode = HumanInputMode::never,
       .runs = {tool(
           "add", "multiplies", [](int a, int b) { return a * b; }, arg("a"), arg("b"))}});
  CHECK(spoken(user.initiate_chat(alice, "?").transcript)[2] == "user: 6");
}

TEST_CASE("one message answers several calls in order, and a failure is an answer like any other") {
  Simulation world;
  Message both = calls("add", R"({"a":1,"b":1})", "c1");
  both.tool_calls.push_back({"c2", "broken", "{}"});
  both.tool_calls.push_back({"c3", "missing", "{}"});
  const Tool broken =
      tool("broken", "fails", []() -> std::string { throw std::runtime_error("out of order"); });
  AssistantAgent alice(
      {.name = "alice", .model = says(world, {both, "TERMINATE"}), .tools = {adder(), broken}});
  const ChatResult chat = quiet_user().initiate_chat(alice, "go");
  const Message& answer = **chat.transcript.at(2).message;
  REQUIRE(answer.tool_responses.size() == 3);
  CHECK(answer.tool_responses[0].content == "2");
  CHECK(answer.tool_responses[1].content == "Error: out of order");
  CHECK(answer.tool_responses[2].content == "Error: Function missing not found.");
  CHECK(answer.text() == "2\n\nError: out of order\n\nError: Function missing not found.");
  CHECK(chat.stop.reason == StopReason::termination_message);
}

TEST_CASE("a model sees the answers to its calls one by one") {
  Simulation world;
  std::vector<Lines> prompts;
  int calls_made = 0;
  Model model = world.model(scripted([&](const ModelRequest& request) -> Result<ModelReply> {
                              prompts.push_back(shown(request.messages));
                              if (++calls_made == 2)
                                return ModelReply{.message = Message::assistant("TERMINATE")};
                              Message both = calls("add", R"({"a":1,"b":1})", "c1");
                              both.tool_calls.push_back({"c2", "add", R"({"a":2,"b":2})"});
                              return ModelReply{.message = both};
                            }),
                            {.limiter = unlimited()});
  AssistantAgent alice(
      {.name = "alice", .system_message = "s", .model = model, .tools = {adder()}});
  quiet_user().initiate_chat(alice, "go");
  REQUIRE(prompts.size() == 2);
  CHECK(prompts[1] == Lines{"system : s", "user user: go", "assistant : ", "tool : 2", "tool : 4"});
}

TEST_CASE("of two tools with one name the later counts") {
  Simulation world;
  const Tool later = tool(
      "add", "later", [](int a, int) { return a; }, arg("a"), arg("b"));
  AssistantAgent alice({.name = "alice",
                        .model = says(world, {calls("add", R"({"a":7,"b":1})"), "TERMINATE"}),
                        .tools = {adder(), later}});
  CHECK(spoken(quiet_user().initiate_chat(alice, "go").transcript)[2] == "user: 7");
}

TEST_CASE("a tool that takes too long is answered for, and the chat goes on") {
  Runtime runtime;
  ToolOptions limited;
  limited.timeout = 20ms;
  const Tool slow(RawTool{.definition = {.name = "slow", .parameters = {}},
                          .function =
                              [](const Json&, const ToolContext& context) {
                                while (!context.stop.stop_requested()) std::this_thread::yield();
                                return Result<std::string>("too late");
                              },
                          .options = limited});
  AssistantAgent alice({.name = "alice",
                        .model = says(runtime, {calls("slow", "{}"), "TERMINATE"}),
                        .tools = {slow}});
  const ChatResult chat = quiet_user().initiate_chat(alice, "go");
  CHECK(spoken(chat.transcript)[2] == "user: Error: slow did not answer within 0.02 s");
  CHECK(chat.stop.reason == StopReason::termination_message);
}

TEST_CASE("a tool that asks for the end of the chat gets it, and nothing of its answer is said") {
  Simulation world;
  std::stop_source stop;
  const Tool quits = tool("quit", "ends all", [&stop] {
    stop.request_stop();
    return std::string("done");
  });
  AssistantAgent alice(
      {.name = "alice", .model = says(world, {calls("quit", "{}")}), .tools = {quits}});
  const ChatResult chat = quiet_user().initiate_chat(alice, "go", {.stop = stop.get_token()});
  CHECK(chat.stop.reason == StopReason::cancelled);
  CHECK(chat.transcript.size() == 2);
}

TEST_CASE("names of tools that a model makes up are made valid before anybody sees them") {
  Simulation world;
  AssistantAgent alice(
      {.name = "alice", .model = says(world, {calls("a b/ü", "{}"), "TERMINATE"})});
  const ChatResult chat = quiet_user().initiate_chat(alice, "go");
  CHECK((*chat.transcript.at(1).message)->tool_calls.at(0).name == "a_b__");
}

TEST_CASE("a tool's start and end are told") {
  Simulation world;
  Lines told;
  AssistantAgent alice({.name = "alice",
                        .model = says(world, {calls("add", R"({"a":2,"b":3})"), "TERMINATE"}),
                        .tools = {adder()}});
  quiet_user().initiate_chat(
      alice, "go", {.observer = Observer([&](const Event& event) {
                      if (const auto* start = std::get_if<ToolStarted>(&event.data)) {
                        told.push_back(start->agent + " " + start->tool + " " + start->arguments);
                      }
                      if (const auto* end = std::get_if<ToolFinished>(&event.data))
                        told.push_back(end->result);
                    })});
  CHECK(told == Lines{R"(user add {"a":2,"b":3})", "5"});
}

TEST_CASE("a tool that was given up while it stood in the queue is never begun") {
  Runtime runtime({.worker_threads = 1});
  std::promise<void> release;
  std::atomic<bool> ran = false;
  runtime.block_on([&] {
    WaitPoint busy("the only worker to be busy");
    auto first = runtime.spawn([&] {
      runtime.on_worker([&] {
        busy.notify();
        release.get_future().wait();
      });
    });
    busy.wait();
    std::stop_source stop;
    auto stopping = runtime.spawn([&] { stop.request_stop(); });
    const auto result = call_on_worker(
        runtime,
        [&ran](const std::stop_token&, const TellProgress&) -> Result<std::string> {
          ran = true;
          return std::string("ran");
        },
        no_deadline, stop.get_token());
    REQUIRE_FALSE(result);
    CHECK(result.error().code == ErrorCode::cancelled);
    stopping.join();
    release.set_value();
    first.join();
    runtime.on_worker([] {});  // comes after it in the queue
  });
  CHECK_FALSE(ran);
}

TEST_CASE("answers to several calls without ids name the calls that they answer") {
  Simulation world;
  Message both = calls("one", "{}", "");
  both.tool_calls.push_back({"", "two", "{}"});
  std::vector<std::string> asked;
  std::vector<std::string> answered;
  int turn = 0;
  const Model model = world.model(scripted([&](const ModelRequest& request) -> Result<ModelReply> {
                                    if (++turn == 1) return ModelReply{.message = both};
                                    for (const MessagePtr& kept : request.messages) {
                                      for (const ToolCall& call : (*kept)->tool_calls)
                                        asked.push_back(call.id);
                                      if ((*kept)->role == Role::tool)
                                        answered.push_back((*kept)->tool_call_id);
                                    }
                                    return ModelReply{.message = Message::assistant("TERMINATE")};
                                  }),
                                  {.limiter = unlimited()});
  AssistantAgent alice({.name = "alice",
                        .model = model,
                        .tools = {tool("one", "", [] { return std::string("1"); }),
                                  tool("two", "", [] { return std::string("2"); })}});
  quiet_user().initiate_chat(alice, "hello");
  REQUIRE(asked.size() == 2);
  CHECK_FALSE(asked[0].empty());
  CHECK(asked[0] != asked[1]);
  CHECK(answered == asked);
}

TEST_CASE("after a stop between call and answer the model is told that nothing was run") {
  Simulation world;
  std::vector<Lines> prompts;
  std::stop_source stop;
  AssistantAgent caller(
      {.name = "alice",
       .model = world.model(scripted([&](const ModelRequest& request) -> Result<ModelReply> {
                              prompts.push_back(shown(request.messages));
                              if (prompts.size() == 1)
                                return ModelReply{.message = calls("t", "{}")};
                              return ModelReply{.message = Message::assistant("TERMINATE")};
                            }),
                            {.limiter = unlimited()}),
       .tools = {tool("t", "", [] { return std::string("ran"); })}});
  const UserProxyAgent user = quiet_user();
  Session session(world);
  const ChatResult first =
      user.initiate_chat(caller, "hello", {.termination = max_messages(2), .session = &session});
  CHECK(first.transcript.back().kind == MessageKind::tool_call);
  const ChatResult second = user.initiate_chat(caller, "go on", {.session = &session});
  CHECK(second.stop.reason == StopReason::termination_message);
  REQUIRE(prompts.size() == 2);
  REQUIRE(prompts[1].size() == 5);
  CHECK(prompts[1][3].starts_with("tool "));
  CHECK(prompts[1][3].find("Not run") != std::string::npos);
  CHECK(prompts[1][4] == "user user: go on");
  CHECK(second.chat_history.size() == 4);
}
