#include <doctest/doctest.h>

#include <fstream>
#include <iterator>

#include <moderato/agents/workflow/workflow.hpp>
#include <moderato/llm/providers/simulated.hpp>

#include "agents/scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

/// A workflow with three agents; `task` is its task, `more` further members.
Workflow workflow(const std::string& task, const std::string& more = {}) {
  auto parsed = Workflow::parse(R"({"workflow": 1, "name": "test",
    "models": {"m": {"model": "pingpong-100", "api_key_env": "KEY",
                     "price": {"input_per_million": 1, "output_per_million": 1},
                     "limits": {"max_in_flight": 4}}},
    "agents": {"writer": {"model": "m", "system_message": "Be brief."}, "critic": {"model": "m"}, "editor": {"model": "m"},
               "user": {"kind": "user_proxy", "human_input_mode": "never",
                        "default_auto_reply": "Go on."}},
    "task": {)" + task + "}" + more +
                                "}");
  if (!parsed) FAIL(parsed.error().front().text);
  return *parsed;
}

/// All models are one simulated provider.
struct World {
  Simulation world;
  SimulatedProvider provider;
  WorkflowOptions options{
      .provider = [this](const OpenAIOptions& model) { return provider.provider(model.model); }};

  ChatQueueResult run(const Workflow& workflow) {
    auto result = workflow.run(world, options);
    REQUIRE_MESSAGE(result.has_value(), result.error().message);
    return *result;
  }
  ChatResult chat(const Workflow& workflow) {
    ChatQueueResult result = run(workflow);
    REQUIRE(result.chats.size() == 1);
    return result.chats.front();
  }
};

constexpr const char* talk =
    R"("chat": {"from": "user", "to": "writer", "message": "Begin.", "max_turns": 2})";

}  // namespace

TEST_CASE("a chat runs as its file says") {
  World world;
  const ChatResult chat = world.chat(workflow(talk));
  CHECK(spoken(chat.transcript) ==
        Lines{"user: Begin.", "writer: Reply 1.", "user: Go on.", "writer: Reply 2."});
  CHECK(chat.stop.reason == StopReason::max_turns);
  CHECK(chat.cost > 0);
}

TEST_CASE("the program may begin with another message") {
  World world;
  world.options.message = "Something else.";
  CHECK(spoken(world.chat(workflow(talk)).transcript)[0] == "user: Something else.");
}

TEST_CASE("termination, budget and deadline of a file bound the run") {
  World world;
  const std::string endless = R"("chat": {"from": "user", "to": "writer", "message": "Begin."})";
  CHECK(world.chat(workflow(endless, R"(, "termination": {"contains": "Reply 3"})")).stop.rule ==
        R"(contains("Reply 3"))");
  const ChatResult cut = world.chat(workflow(endless, R"(, "token_budget": 600)"));
  CHECK(cut.stop.reason == StopReason::token_budget);
  CHECK(cut.usage.total() <= 600);
  const ChatResult closed =
      world.chat(workflow(endless, R"(, "token_budget": 900, "on_budget": "final_answer")"));
  CAPTURE(to_string(closed.stop));
  CHECK(closed.stop.detail.ends_with("the final answer was given"));
  world.provider = SimulatedProvider({.latency = {.first_token = std::chrono::seconds(4)}});
  CHECK(world.chat(workflow(endless, R"(, "deadline_seconds": 10)")).stop.reason ==
        StopReason::deadline);
}

TEST_CASE("a group runs as its file says") {
  World world;
  const ChatResult chat = world.chat(workflow(
      R"("group": {"from": "user", "message": "Begin.", "agents": ["writer", "critic", "editor"],
                   "speaker_selection": "round_robin", "max_round": 4,
                   "transitions": {"writer": ["editor"], "editor": ["writer"]}})"));
  CHECK(spoken(chat.transcript) ==
        Lines{"user: Begin.", "writer: Reply 1.", "editor: Reply 1.", "writer: Reply 2."});
}

TEST_CASE("agents of a file hand over to each other") {
  auto parsed = Workflow::parse(R"({"workflow": 1,
    "models": {"talks": {"model": "pingpong-9"}},
    "agents": {"clerk": {"model": "talks", "handoffs": ["expert"]},
               "expert": {"model": "talks", "description": "knows it", "handoffs": ["clerk"]},
               "user": {"kind": "user_proxy", "human_input_mode": "never"}},
    "task": {"group": {"from": "user", "message": "Why?", "agents": ["clerk", "expert"],
                       "speaker_selection": "handoff", "max_round": 6, "max_turns": 1}}})");
  REQUIRE(parsed.has_value());
  World world;
  world.provider =
      SimulatedProvider({.script = *SimulatedScript::from_json(
                             R"({"rules": [{"when": {"contains": "Why"}, "tool_calls": [
                                              {"name": "transfer_to_expert",
                                               "arguments": {"message": "You know."}}]}]})")});
  const ChatResult chat = world.chat(*parsed);
  CHECK(spoken(chat.transcript).back().starts_with("expert: Reply"));
  CHECK(chat.calls == 2);
  const auto wrong = Workflow::parse(R"({"workflow": 1,
    "models": {"m": {"model": "weather"}},
    "agents": {"clerk": {"model": "m", "handoffs": ["exprt"]}, "expert": {"model": "m"}},
    "task": {"chat": {"from": "clerk", "to": "expert", "message": "Why?"}}})");
  REQUIRE_FALSE(wrong.has_value());
  const auto away = Workflow::parse(R"({"workflow": 1,
    "models": {"m": {"model": "weather"}},
    "agents": {"a": {"model": "m", "handoffs": ["c"]}, "b": {"model": "m"}, "c": {"model": "m"}},
    "task": {"group": {"from": "c", "message": "Why?", "agents": ["a", "b"],
                       "speaker_selection": "handoff", "max_turns": 1}}})");
  REQUIRE_FALSE(away.has_value());
  CHECK(away.error().front().text.find(
            "agents.a.handoffs[0]: \"c\" is not in the group that \"a\" speaks in") !=
        std::string::npos);
  CHECK(wrong.error().front().text.find("agents.clerk.handoffs[0]: no agent is called \"exprt\"; "
                                        "did you mean \"expert\"?") != std::string::npos);
}

TEST_CASE("a graph runs as its file says") {
  World world;
  const ChatResult chat = world.chat(workflow(
      R"("graph": {"from": "user", "message": "Begin.", "agents": ["writer", "critic", "editor"],
                   "edges": [{"from": "writer", "to": "critic", "when": {"contains": "Reply"}},
                             {"from": "writer", "to": "editor", "when": {"contains": "Draft"}}]})"));
  CHECK(spoken(chat.transcript)[1] == "writer: Reply 1.");
  CHECK(spoken(chat.transcript)[2] == "critic: Reply 1.");
  CHECK(chat.calls == 2);
}

TEST_CASE("a sequence carries summaries over, and waits for what its file says") {
  World world;
  const ChatQueueResult result = world.run(workflow(
      R"("sequence": [
        {"from": "user", "to": "writer", "message": "One.", "max_turns": 1, "id": "one", "after": []},
        {"from": "user", "to": "critic", "message": "Two.", "max_turns": 1, "id": "two",
         "after": ["one"]}])"));
  REQUIRE(result.chats.size() == 2);
  CHECK(spoken(result.chats[1].transcript)[0].find("Reply 1.") != std::string::npos);
  CHECK(result.calls == 2);
}

TEST_CASE("an agent of a file answers by asking others") {
  World world;
  auto parsed = Workflow::parse(R"({"workflow": 1,
    "models": {"m": {"model": "pingpong-9"}},
    "agents": {"front": {"nested": {"when_from": "user",
                                    "chats": [{"to": "expert", "max_turns": 1}]}},
               "expert": {"model": "m"},
               "user": {"kind": "user_proxy", "human_input_mode": "never"}},
    "task": {"chat": {"from": "user", "to": "front", "message": "Why?", "max_turns": 1}}})");
  REQUIRE(parsed.has_value());
  CHECK(world.chat(*parsed).summary == "Reply 1.");
}

TEST_CASE("tools are offered by the program, and one that is not is an error that names it") {
  World world;
  const auto parsed = Workflow::parse(R"({"workflow": 1, "tools": ["weather"],
    "models": {"m": {"model": "weather"}},
    "agents": {"writer": {"model": "m", "tools": ["weather"]},
               "user": {"kind": "user_proxy", "human_input_mode": "never"}},
    "task": {"chat": {"from": "user", "to": "writer", "message": "Rain?", "max_turns": 2}}})");
  REQUIRE(parsed.has_value());
  CHECK(parsed->tools() == std::vector<std::string>{"weather"});
  const auto refused = parsed->run(world.world, world.options);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message ==
        R"(workflow "workflow": the program that runs this workflow offers no tool "weather")");
  world.options.tools = {tool(
      "weather", "The weather", [](const std::string&, bool) { return "Rain."; }, arg("city"),
      arg("celsius"))};
  CHECK(spoken(world.chat(*parsed).transcript)[2] == "user: Rain.");
}

TEST_CASE("keys come from where the program says") {
  World world;
  std::vector<std::string> asked;
  world.options.key = [&](const std::string& variable) {
    asked.push_back(variable);
    return Secret("sk-test");
  };
  Secret key;
  world.options.provider = [&](const OpenAIOptions& model) {
    key = model.api_key;
    return world.provider.provider(model.model);
  };
  const Workflow file = workflow(talk);
  CHECK(file.key_variables() == std::vector<std::string>{"KEY"});
  (void)world.chat(file);
  CHECK(asked == std::vector<std::string>{"KEY"});
  CHECK(key.reveal() == "sk-test");
}

TEST_CASE("a stop from outside ends a workflow, and what was said stays") {
  World world;
  std::stop_source source;
  world.options.stop = source.get_token();
  world.options.observer = Observer([&](const Event& event) {
    if (std::holds_alternative<MessageAdded>(event.data)) source.request_stop();
  });
  const ChatResult chat = world.chat(workflow(talk));
  CHECK(chat.stop.reason == StopReason::cancelled);
  CHECK(chat.transcript.size() == 1);
}

TEST_CASE("the published schema is the one that files are checked with") {
  std::ifstream file(WORKFLOW_SCHEMA);
  const std::string published{std::istreambuf_iterator<char>(file), {}};
  CHECK(published == workflow_schema().dump(2) + "\n");
}
