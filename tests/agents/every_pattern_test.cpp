// What holds for every pattern of conversation: it can be stopped at every event, it keeps to every
// token budget, and its recording replays.
#include <doctest/doctest.h>

#include <moderato/agents/agent_tool.hpp>
#include <moderato/agents/graph/graph_agent.hpp>
#include <moderato/agents/group/group_chat_manager.hpp>
#include <moderato/agents/handoff/handoff.hpp>
#include <moderato/agents/planner/planner_agent.hpp>
#include <moderato/agents/sequence/initiate_chats.hpp>
#include <moderato/agents/sequence/nested_chats.hpp>
#include <moderato/llm/providers/simulated.hpp>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

constexpr const char* script = R"({"rules": [
  {"when": {"model": "selects", "contains": "Who is next"}, "reply": "critic"},
  {"when": {"model": "plans", "contains": "Fill in the ledger", "turn": 2},
   "reply": "{\"is_request_satisfied\": false, \"is_progress_being_made\": true, \"is_in_loop\": false, \"next_speaker\": \"writer\", \"instruction_or_question\": \"Write.\"}"},
  {"when": {"model": "plans", "contains": "Fill in the ledger"},
   "reply": "{\"is_request_satisfied\": true, \"is_progress_being_made\": true, \"is_in_loop\": false, \"next_speaker\": \"writer\", \"instruction_or_question\": \"\"}"},
  {"when": {"model": "hands over", "contains": "Begin"},
   "tool_calls": [{"name": "transfer_to_expert", "arguments": {"message": "Help."}}]},
  {"when": {"model": "asks", "contains": "Begin"},
   "tool_calls": [{"name": "expert", "arguments": {"task": "Think."}}]},
  {"when": {"model": "acts", "contains": "Begin"},
   "tool_calls": [{"name": "left"}, {"name": "right"}]},
  {"when": {"model": "acts", "turn": 1}, "reply": "Thought."}
]})";

struct World {
  Simulation simulation;
  SimulatedProvider provider{{.script = SimulatedScript::from_json(script).value()}};

  Model model(const std::string& name) {
    return simulation.model(provider.provider(name), {.limiter = unlimited()});
  }
  AssistantAgent agent(const std::string& name, const std::string& says = "pingpong-100",
                       std::vector<Tool> tools = {}) {
    return AssistantAgent(
        {.name = name, .description = name, .model = model(says), .tools = std::move(tools)});
  }
  std::vector<ConversableAgent> team(const std::string& says = "pingpong-100") {
    return {agent("writer", says), agent("critic", says), agent("editor", says)};
  }
};

Stop ask(const ConversableAgent& agent, Session& session, ChatOptions options = {}) {
  options.session = &session;
  options.max_turns = options.max_turns.value_or(2);
  return quiet_user("Go on.").initiate_chat(agent, "Begin.", options).stop;
}

Stop round_robin(World& world, Session& session) {
  return ask(GroupChatManager(
                 {.group_chat = {.agents = world.team(),
                                 .max_round = 5,
                                 .speaker_selection_method = SpeakerSelectionMethod::round_robin}}),
             session);
}

Stop selection(World& world, Session& session) {
  return ask(GroupChatManager(
                 {.group_chat = {.agents = world.team("selects"),
                                 .max_round = 4,
                                 .allow_repeat_speaker = false,
                                 .select_speaker_prompt_template = "Who is next: {agentlist}?"},
                  .model = world.model("selects")}),
             session, {.summary_method = reflection_with_llm()});
}

Stop nested(World& world, Session& session) {
  return ask(ConversableAgent(
                 {.name = "front",
                  .human_input_mode = HumanInputMode::never,
                  .replies = {nested_chats(
                      {{.recipient = world.agent("writer"), .options = {.max_turns = 2}},
                       {.recipient = world.agent("critic"),
                        .options = {.max_turns = 1, .summary_method = reflection_with_llm()}}},
                      "user")}}),
             session);
}

Stop queues(World& world, Session& session) {
  std::vector<QueuedChat> queue;
  for (const ConversableAgent& agent : world.team()) {
    queue.push_back({.recipient = agent,
                     .message = Message::user("Begin, " + agent.name() + "."),
                     .options = {.max_turns = 2},
                     .chat_id = agent.name()});
  }
  const ChatQueueOptions options{.sender = quiet_user("Go on."), .session = &session};
  if (Stop stop = initiate_chats(queue, options).stop) return stop;
  queue[0].prerequisites = queue[1].prerequisites = std::vector<std::string>{};
  queue[2].prerequisites = {"writer", "critic"};
  return initiate_chats(queue, options).stop;
}

Stop handoffs(World& world, Session& session) {
  return ask(
      GroupChatManager(
          {.group_chat = {.agents = {world.agent("clerk", "hands over", {handoff_to("expert")}),
                                     world.agent("expert")},
                          .max_round = 5,
                          .speaker_selection_method = ByHandoff{}}}),
      session);
}

Stop graph(World& world, Session& session) {
  std::vector<ConversableAgent> team = world.team();
  team.push_back(world.agent("start"));
  return ask(GraphAgent({.agents = std::move(team),
                         .edges = {{"start", "writer"},
                                   {"start", "critic"},
                                   {"writer", "editor"},
                                   {"critic", "editor"}},
                         .joins = {{"editor", Join::all}}}),
             session);
}

Stop planner(World& world, Session& session) {
  return ask(PlannerAgent({.model = world.model("plans"), .agents = world.team()}), session,
             {.max_turns = 1});
}

Stop agent_as_tool(World& world, Session& session) {
  return ask(world.agent("clerk", "asks", {agent_tool(world.agent("expert", "acts"))}), session);
}

Stop tools_at_once(World& world, Session& session) {
  const auto part = [](const char* name) {
    return tool(name, "does its part", [name] { return std::string(name); });
  };
  return ask(world.agent("clerk", "acts", {part("left"), part("right")}), session);
}

struct Pattern {
  const char* name;
  Stop (*run)(World&, Session&);
};

constexpr Pattern patterns[] = {
    {"round robin", round_robin},
    {"selection by a model, and a summary", selection},
    {"nested chats", nested},
    {"a sequence, and chats that wait for each other", queues},
    {"handoffs", handoffs},
    {"a graph with two branches", graph},
    {"a planner", planner},
    {"an agent as a tool", agent_as_tool},
    {"two tools at once", tools_at_once},
};

}  // namespace

TEST_CASE("every pattern can be stopped at every event, and leaves nothing behind") {
  for (const Pattern& pattern : patterns) {
    CAPTURE(std::string(pattern.name));
    bool finished = false;
    for (int stop_at = 0; !finished; ++stop_at) {
      CAPTURE(stop_at);
      REQUIRE(stop_at < 500);
      World world;
      std::stop_source stop;
      int events = 0;
      const auto budget = TokenBudget::make(100'000);
      Stop ended;
      {
        Session session(world.simulation, {.observer = Observer([&](const Event&) {
                                             if (events++ == stop_at) stop.request_stop();
                                           }),
                                           .stop = stop.get_token(),
                                           .budget = budget});
        ended = pattern.run(world, session);
        CHECK(budget->reserved() == 0);
        CHECK(budget->spent() == session.totals().snapshot().usage.total());
      }
      finished = events <= stop_at;
      const bool last_moment = ended.reason != StopReason::cancelled;
      if (!finished && last_moment) CHECK(events - stop_at <= 6);
      world.simulation.run();
      CHECK(world.simulation.stats().fibers == 0);
      CHECK(world.simulation.stats().worker_jobs == 0);
    }
  }
}

TEST_CASE("every pattern keeps to every token budget, and all of what is billed is counted") {
  for (const Pattern& pattern : patterns) {
    CAPTURE(std::string(pattern.name));
    bool enough = false;
    for (std::int64_t total = 0; !enough; total += 150) {
      CAPTURE(total);
      REQUIRE(total < 100'000);
      World world;
      const auto budget = TokenBudget::make(total);
      Session session(world.simulation, {.budget = budget});
      const Stop ended = pattern.run(world, session);
      enough = ended.reason != StopReason::token_budget && ended.reason != StopReason::tool_error;
      const SimulatedStats billed = world.provider.stats();
      CHECK(budget->spent() <= total);
      CHECK(budget->reserved() == 0);
      CHECK(billed.input_tokens + billed.output_tokens == budget->spent());
      CHECK(session.totals().snapshot().usage.total() == budget->spent());
      if (total == 0) CHECK(ended.reason == StopReason::token_budget);
    }
  }
}

TEST_CASE("every pattern is replayed from its recording without a model") {
  for (const Pattern& pattern : patterns) {
    CAPTURE(std::string(pattern.name));
    const auto journal = std::make_shared<MemoryJournal>();
    World first;
    Session recorded(first.simulation, {.id = "run", .journal = journal});
    const Stop ended = pattern.run(first, recorded);
    for (const JournalMode mode : {JournalMode::replay, JournalMode::resume}) {
      World again;
      Session session(again.simulation, {.id = "run", .journal = journal, .journal_mode = mode});
      CHECK(pattern.run(again, session) == ended);
      CHECK(again.provider.stats().successes == 0);
      CHECK(spoken(session.transcript()) == spoken(recorded.transcript()));
      CHECK(session.totals().snapshot().usage == recorded.totals().snapshot().usage);
      CHECK(session.totals().snapshot().calls == recorded.totals().snapshot().calls);
    }
  }
}
