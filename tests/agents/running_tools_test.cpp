#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>

#include <moderato/agents/agent_tool.hpp>
#include <moderato/core/wait.hpp>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;
using namespace std::chrono_literals;

namespace {

// A message that calls each of these tools once.
Message calls_all(std::vector<std::string> tools) {
  Message message{.role = Role::assistant};
  for (std::string& name : tools) message.tool_calls.push_back({"call_" + name, name, "{}"});
  return message;
}

Tool raw(std::string name, ToolFunction function, ToolOptions options = {}) {
  return Tool(RawTool{.definition = {.name = std::move(name)},
                      .function = std::move(function),
                      .options = std::move(options)});
}

// Waits on the conversation's fiber, and notes when it began and ended.
Tool waits(std::string name, Duration time, Lines& log) {
  ToolOptions options;
  options.runs_inline = true;
  return raw(
      name,
      [name, time, &log](const Json&, const ToolContext&) -> Result<std::string> {
        log.push_back(name + " begins");
        sleep_for(time);
        log.push_back(name + " ends");
        return "done " + name;
      },
      options);
}

AssistantAgent asker(Runtime& runtime, Message asked, std::vector<Tool> tools) {
  return AssistantAgent({.name = "alice",
                         .model = says(runtime, {std::move(asked), "TERMINATE"}),
                         .tools = std::move(tools)});
}

UserProxyAgent runs_at_a_time(std::size_t most) {
  return UserProxyAgent(
      {.name = "user", .human_input_mode = HumanInputMode::never, .max_parallel_tools = most});
}

Lines answers(const ChatResult& chat) {
  Lines lines;
  for (const ToolResponse& answer : (*chat.transcript.at(2).message)->tool_responses) {
    lines.push_back(answer.content);
  }
  return lines;
}

Tool fails_first(int failures, int& attempts, ToolOptions options) {
  return raw(
      "flaky",
      [failures, &attempts](const Json&, const ToolContext&) -> Result<std::string> {
        if (++attempts <= failures) throw std::runtime_error("not yet");
        return "at last";
      },
      options);
}

}  // namespace

TEST_CASE("tools run one after the other unless the agent allows more") {
  Simulation world;
  Lines log;
  quiet_user().initiate_chat(
      asker(world, calls_all({"a", "b"}), {waits("a", 2s, log), waits("b", 1s, log)}), "go");
  CHECK(log == Lines{"a begins", "a ends", "b begins", "b ends"});
}

TEST_CASE("as many tools as the agent allows run at a time, and answers keep their order") {
  Simulation world;
  Lines log;
  const ChatResult chat = runs_at_a_time(2).initiate_chat(
      asker(world, calls_all({"a", "b", "c"}),
            {waits("a", 3s, log), waits("b", 1s, log), waits("c", 1s, log)}),
      "go");
  CHECK(log == Lines{"a begins", "b begins", "b ends", "c begins", "c ends", "a ends"});
  CHECK(answers(chat) == Lines{"done a", "done b", "done c"});
}

TEST_CASE("tools that overlapped are replayed, whatever the order in which they ended") {
  Simulation world;
  auto journal = std::make_shared<MemoryJournal>();
  Lines log;
  const auto run = [&](JournalMode mode, Duration first) {
    Session session(world, {.id = "run", .journal = journal, .journal_mode = mode});
    return answers(runs_at_a_time(2).initiate_chat(
        asker(world, calls_all({"a", "b"}), {waits("a", first, log), waits("b", 2s, log)}), "go",
        {.session = &session}));
  };
  const Lines recorded = run(JournalMode::record, 3s);
  log.clear();
  CHECK(run(JournalMode::replay, 1s) == recorded);
  CHECK(log.empty());
}

TEST_CASE("an idempotent tool that fails is run again, with growing delays") {
  Simulation world;
  int attempts = 0;
  ToolOptions options;
  options.idempotent = true;
  options.max_attempts = 3;
  options.retry_delay = 1s;
  const Instant began = world.clock().now();
  const ChatResult chat = quiet_user().initiate_chat(
      asker(world, calls_all({"flaky"}), {fails_first(2, attempts, options)}), "go");
  CHECK(answers(chat) == Lines{"at last"});
  CHECK(attempts == 3);
  CHECK(world.clock().now() - began == 3s);
}

TEST_CASE("attempts at a tool are bounded, and the last failure is the answer") {
  Simulation world;
  int attempts = 0;
  ToolOptions options;
  options.idempotent = true;
  options.max_attempts = 2;
  const ChatResult chat = quiet_user().initiate_chat(
      asker(world, calls_all({"flaky"}), {fails_first(9, attempts, options)}), "go");
  CHECK(answers(chat) == Lines{"Error: not yet"});
  CHECK(attempts == 2);
}

TEST_CASE("only an idempotent tool may be tried again") {
  int attempts = 0;
  ToolOptions options;
  options.max_attempts = 2;
  CHECK_THROWS_AS(fails_first(0, attempts, options), std::invalid_argument);
}

TEST_CASE("a tool says how far it is, from its worker thread or from the fiber") {
  for (const bool runs_inline : {false, true}) {
    Simulation world;
    ToolOptions options;
    options.runs_inline = runs_inline;
    Lines told;
    const Tool steps = raw(
        "steps",
        [](const Json&, const ToolContext& context) -> Result<std::string> {
          context.progress("half");
          context.progress("all");
          return "done";
        },
        options);
    quiet_user().initiate_chat(asker(world, calls_all({"steps"}), {steps}), "go",
                               {.observer = Observer([&](const Event& event) {
                                  if (const auto* e = std::get_if<ToolProgress>(&event.data)) {
                                    told.push_back(e->agent + " " + e->tool + ": " + e->text);
                                  }
                                  if (std::holds_alternative<ToolFinished>(event.data)) {
                                    told.push_back("finished");
                                  }
                                })});
    CHECK(told == Lines{"user steps: half", "user steps: all", "finished"});
  }
}

TEST_CASE("a rule says which calls of a tool may run") {
  Simulation world;
  int runs = 0;
  ToolOptions options;
  options.approval = [](const ToolCall& call, const ToolContext& context) {
    return context.agent == "user" && call.arguments.find("small") != std::string::npos;
  };
  const Tool pay = tool(
      "pay", "pays", [&runs](const std::string& sum) { return ++runs, "paid " + sum; }, arg("sum"),
      options);
  Message both = calls("pay", R"({"sum":"small"})", "c1");
  both.tool_calls.push_back({"c2", "pay", R"({"sum":"big"})"});
  const ChatResult chat = quiet_user().initiate_chat(asker(world, both, {pay}), "go");
  CHECK(answers(chat) == Lines{"paid small", "Error: pay was not run: it was not approved"});
  CHECK(runs == 1);
}

TEST_CASE("a rule that throws approves nothing") {
  Simulation world;
  ToolOptions options;
  options.approval = [](const ToolCall&, const ToolContext&) -> bool {
    throw std::runtime_error("no rights service");
  };
  const Tool pay = tool(
      "pay", "pays", [] { return std::string("paid"); }, options);
  const ChatResult chat = quiet_user().initiate_chat(asker(world, calls_all({"pay"}), {pay}), "go");
  CHECK(answers(chat) == Lines{"Error: pay was not run: its approval failed: no rights service"});
}

TEST_CASE("a person is asked before a tool runs, and the model reads why it may not") {
  Simulation world;
  ToolOptions options;
  options.approval = Approval::by_human();
  const Tool pay = tool(
      "pay", "pays", [](int sum) { return sum; }, arg("sum"), options);
  Message both = calls("pay", R"({"sum":1})", "c1");
  both.tool_calls.push_back({"c2", "pay", R"({"sum":2})"});
  Lines questions;
  UserProxyAgent user({.name = "user",
                       .human_input_mode = HumanInputMode::never,
                       .human_input = HumanInput([&](const HumanPrompt& prompt) {
                         CHECK(prompt.situation == HumanSituation::tool_approval);
                         questions.push_back(prompt.text);
                         return std::string(questions.size() == 1 ? "Yes" : "too much");
                       })});
  const ChatResult chat = user.initiate_chat(asker(world, both, {pay}), "go");
  CHECK(answers(chat) == Lines{"1", "Error: pay was not run: too much"});
  CHECK(questions.at(0) == "user is asked to run pay({\"sum\":1}). May it (yes, or why not)? ");
}

TEST_CASE("nobody is asked about a call whose arguments are wrong") {
  Simulation world;
  ToolOptions options;
  options.approval = Approval::by_human();
  const Tool pay = tool(
      "pay", "pays", [](int sum) { return sum; }, arg("sum"), options);
  UserProxyAgent user({.name = "user",
                       .human_input_mode = HumanInputMode::never,
                       .human_input = scripted_input({})});
  const ChatResult chat =
      user.initiate_chat(asker(world, calls("pay", R"({"sum":"much"})"), {pay}), "go");
  CHECK(chat.stop.reason == StopReason::termination_message);
  CHECK(answers(chat).at(0).starts_with("Error: wrong arguments for pay"));
}

TEST_CASE("an agent is a tool: it works on a task with tools of its own, and answers") {
  Simulation world;
  std::vector<Lines> prompts;
  const Tool look = tool("look", "looks", [] { return std::string("42"); });
  AssistantAgent expert({.name = "expert",
                         .description = "Knows numbers.",
                         .model = says(world, {calls("look", "{}"), "It is 42."}),
                         .tools = {look}});
  const Tool ask = agent_tool(expert);
  CHECK(ask.name() == "expert");
  CHECK(ask.definition().description == "Knows numbers.");
  AssistantAgent alice(
      {.name = "alice",
       .model = says(world, {calls("expert", R"({"task":"the number?"})"), "TERMINATE"}),
       .tools = {ask}});
  const ChatResult chat = quiet_user().initiate_chat(alice, "go");
  CHECK(answers(chat) == Lines{"It is 42."});
  CHECK(chat.calls == 4);
  CHECK(chat.stop.reason == StopReason::termination_message);
}

TEST_CASE("an agent that is a tool stays within its share, and the budget sees all of it") {
  Simulation world;
  AssistantAgent expert({.name = "expert", .model = repeats(world, "word")});
  AssistantAgent alice(
      {.name = "alice",
       .model = says(world, {calls("expert", R"({"task":"the number?"})"), "TERMINATE"}),
       .tools = {agent_tool(expert, {.token_budget = 20})}});
  auto budget = TokenBudget::make(10'000);
  const ChatResult chat = quiet_user().initiate_chat(alice, "go", {.shared_budget = budget});
  CHECK(answers(chat).at(0).starts_with("Error: expert did not finish the task: token_budget"));
  CHECK(chat.stop.reason == StopReason::termination_message);
  CHECK(budget->spent() == chat.usage.total());
}

TEST_CASE("what an agent does as a tool is replayed call by call") {
  Simulation world;
  auto journal = std::make_shared<MemoryJournal>();
  const auto run = [&](JournalMode mode, std::vector<ScriptedReply> of_expert,
                       std::vector<ScriptedReply> of_alice) {
    Session session(world, {.id = "run", .journal = journal, .journal_mode = mode});
    AssistantAgent expert({.name = "expert", .model = says(world, std::move(of_expert))});
    AssistantAgent alice({.name = "alice",
                          .model = says(world, std::move(of_alice)),
                          .tools = {agent_tool(expert)}});
    return quiet_user().initiate_chat(alice, "go", {.session = &session});
  };
  const ChatResult first =
      run(JournalMode::record, {"42"}, {calls("expert", R"({"task":"the number?"})"), "TERMINATE"});
  const ChatResult again = run(JournalMode::replay, {}, {});
  CHECK(spoken(again.transcript) == spoken(first.transcript));
  CHECK(again.calls == 3);
}

TEST_CASE("a tool is not tried again beyond the chat's deadline") {
  Simulation world;
  int runs = 0;
  ToolOptions options{.idempotent = true};
  options.max_attempts = 8;
  options.retry_delay = 10s;
  const Tool look = tool(
      "look", "looks",
      [&runs]() -> std::string { throw std::runtime_error(std::to_string(++runs)); }, options);
  AssistantAgent alice(
      {.name = "alice", .model = says(world, {calls("look", "{}"), "TERMINATE"}), .tools = {look}});
  const ChatResult chat =
      quiet_user().initiate_chat(alice, "go", {.deadline = world.clock().now() + 5s});
  CHECK(runs == 1);
  CHECK(world.clock().now() - Instant{} <= 5s);
  CHECK(spoken(chat.transcript)[2].find("Error: ") != std::string::npos);
}

TEST_CASE("a person whom an agent that is a tool waits for is waited for by the whole chat") {
  Simulation world;
  const UserProxyAgent expert({.name = "expert", .human_input = pending_input()});
  AssistantAgent alice(
      {.name = "alice",
       .model = says(world, {calls("expert", R"({"task": "decide"})"), "TERMINATE"}),
       .tools = {agent_tool(expert)}});
  const ChatResult chat = quiet_user().initiate_chat(alice, "go");
  CHECK(chat.stop.reason == StopReason::awaiting_human);
  CHECK(chat.stop.detail.find("expert") != std::string::npos);
}

TEST_CASE("what a person is asked about shows control characters, and how much is hidden") {
  Simulation world;
  std::string asked;
  ToolOptions options;
  options.approval = Approval::by_human();
  const Tool send = tool(
      "send", "sends", [](const std::string& text) { return text; }, arg("text"), options);
  const Message call = calls("send", R"({"text": ")" + std::string(600, 'x') + R"("})");
  AssistantAgent alice(
      {.name = "alice", .model = says(world, {call, "TERMINATE"}), .tools = {send}});
  const UserProxyAgent user({.name = "user",
                             .human_input_mode = HumanInputMode::never,
                             .human_input = HumanInput([&](const HumanPrompt& prompt) {
                               asked = prompt.text;
                               return std::string("yes");
                             })});
  user.initiate_chat(alice, "go");
  CHECK(asked.find("… and 112 more bytes") != std::string::npos);
}
