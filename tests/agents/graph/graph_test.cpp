#include <doctest/doctest.h>

#include <chrono>

#include <moderato/agents/graph/graph_agent.hpp>
#include <moderato/agents/group/group_chat_manager.hpp>
#include <moderato/termination/condition.hpp>

#include "../scene.hpp"

using namespace moderato;
using namespace moderato::scene;
using namespace std::chrono_literals;

namespace {

AssistantAgent node(Runtime& world, const std::string& name, std::vector<ScriptedReply> replies,
                    Duration takes = 0s) {
  auto script = std::make_shared<std::vector<ScriptedReply>>(std::move(replies));
  auto next = std::make_shared<std::size_t>(0);
  return AssistantAgent(
      {.name = name,
       .model = world.model(scripted([=](const ModelRequest&) -> Result<ModelReply> {
                              sleep_for(takes);
                              const ScriptedReply& reply = (*script)[(*next)++ % script->size()];
                              if (const auto* error = std::get_if<Error>(&reply))
                                return fail(*error);
                              return ModelReply{
                                  .message = Message::assistant(std::get<std::string>(reply)),
                                  .usage = {
                                      .input = 100, .output = 10, .source = UsageSource::measured}};
                            }),
                            {.limiter = unlimited(), .retry = {.max_attempts = 1}})});
}

std::string refused(GraphOptions options) {
  try {
    GraphAgent graph(std::move(options));
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

GraphOptions diamond(Runtime& world) {
  return {.agents = {node(world, "start", {"s"}), node(world, "law", {"legal"}, 3s),
                     node(world, "money", {"cheap"}, 5s), node(world, "write", {"report"})},
          .edges = {{"start", "law"}, {"start", "money"}, {"law", "write"}, {"money", "write"}},
          .joins = {{"write", Join::all}}};
}

}  // namespace

TEST_CASE("a graph fans out, runs its branches at the same time, and joins them") {
  const auto ledger = std::make_shared<MemoryLedger>();
  for (const bool shuffle : {false, true}) {
    Simulation world({.shuffle = shuffle, .ledger = ledger});
    const GraphAgent graph(diamond(world));
    const ChatResult chat = quiet_user().initiate_chat(graph, "task");
    CHECK(spoken(chat.transcript) == Lines{"user: task", "start: s", "law: legal", "money: cheap",
                                           "write: report", "graph: report"});
    CHECK(chat.stop.rule == "completed");
    CHECK(chat.summary == "report");
    CHECK(chat.calls == 4);
    CHECK(chat.usage.total() == 440);
    CHECK(world.clock().now().time_since_epoch() == 5s);
  }
  CHECK(ledger->size() == 8);
}

TEST_CASE("conditions choose the way, a cycle goes round until one says enough") {
  Simulation world;
  GraphOptions options{.agents = {node(world, "writer", {"draft 1", "draft 2"}),
                                  node(world, "critic", {"REVISE", "APPROVED"}),
                                  node(world, "printer", {"printed"})},
                       .edges = {{"writer", "critic"},
                                 {"critic", "writer", contains("REVISE")},
                                 {"critic", "printer", contains("APPROVED")}},
                       .start = {"writer"},
                       .joins = {{"writer", Join::any}}};
  const ChatResult chat = quiet_user().initiate_chat(GraphAgent(options), "task");
  CHECK(spoken(chat.transcript) == Lines{"user: task", "writer: draft 1", "critic: REVISE",
                                         "writer: draft 2", "critic: APPROVED", "printer: printed",
                                         "graph: printed"});
  options.max_visits = 1;
  options.agents[1] = node(world, "critic", {"REVISE"});
  const ChatResult bounded = quiet_user().initiate_chat(GraphAgent(options), "task");
  CHECK(bounded.stop.reason == StopReason::max_messages);
  CHECK(bounded.stop.rule == "max_visits(1)");
  CHECK(bounded.stop.detail.find("writer") != std::string::npos);
}

TEST_CASE("a join that waits for a branch that was not taken is named in the stop") {
  Simulation world;
  const GraphAgent graph({.agents = {node(world, "start", {"s"}), node(world, "law", {"legal"}),
                                     node(world, "money", {"m"}), node(world, "write", {"w"})},
                          .edges = {{"start", "law"},
                                    {"start", "money", contains("never")},
                                    {"law", "write"},
                                    {"money", "write"}},
                          .joins = {{"write", Join::all}}});
  const ChatResult chat = quiet_user().initiate_chat(graph, "task");
  CHECK(chat.stop.rule == "no next speaker");
  CHECK(chat.stop.detail == "write waits for money");
}

TEST_CASE("a failing branch ends the graph with its error, and what others said is kept") {
  Simulation world;
  GraphOptions options = diamond(world);
  options.agents[1] = node(
      world, "law", {ScriptedReply(Error{.code = ErrorCode::server_error, .message = "down"})});
  const ChatResult chat = quiet_user().initiate_chat(GraphAgent(options), "task");
  CHECK(chat.stop.reason == StopReason::model_error);
  CHECK(chat.stop.agent == "law");
  CHECK(spoken(chat.transcript) == Lines{"user: task", "start: s", "money: cheap"});
}

TEST_CASE("a graph keeps to the chat's budget, and can be cancelled and replayed") {
  Simulation world;
  const ChatResult poor =
      quiet_user().initiate_chat(GraphAgent(diamond(world)), "task", {.token_budget = 250});
  CHECK(poor.stop.reason == StopReason::token_budget);
  CHECK(poor.usage.total() <= 250);
  for (int step = 0; step < 8; ++step) {
    Simulation other;
    std::stop_source stop;
    int events = 0;
    const ChatResult chat = quiet_user().initiate_chat(GraphAgent(diamond(other)), "task",
                                                       {.observer = Observer([&](const Event&) {
                                                          if (events++ == 2 * step)
                                                            stop.request_stop();
                                                        }),
                                                        .stop = stop.get_token()});
    CHECK((chat.stop.reason == StopReason::cancelled || chat.stop.rule == "completed"));
  }
  const auto journal = std::make_shared<MemoryJournal>();
  const auto run = [&](JournalMode mode) {
    Simulation timed;
    Session session(timed, {.id = "run", .journal = journal, .journal_mode = mode});
    return quiet_user().initiate_chat(GraphAgent(diamond(timed)), "task", {.session = &session});
  };
  const ChatResult first = run(JournalMode::record);
  const ChatResult second = run(JournalMode::replay);
  CHECK(spoken(second.transcript) == spoken(first.transcript));
  CHECK(second.stop == first.stop);
}

TEST_CASE("a graph takes part in a group and in another graph") {
  Simulation world;
  GraphOptions inner = diamond(world);
  inner.name = "team";
  const GraphAgent team(inner);
  const GraphAgent outer({.name = "outer",
                          .agents = {team, node(world, "boss", {"fine"})},
                          .edges = {{"team", "boss"}}});
  const ChatResult nested = quiet_user().initiate_chat(outer, "task");
  CHECK(nested.calls == 5);
  CHECK(nested.summary == "fine");
  const GroupChatManager manager(
      {.group_chat = {.agents = {quiet_user(), team},
                      .max_round = 2,
                      .speaker_selection_method = SpeakerSelectionMethod::round_robin}});
  const ChatResult chat = manager.group_chat().agents[0].initiate_chat(manager, "task");
  CHECK(chat.summary == "report");
  CHECK(chat.calls == 4);
}

TEST_CASE("a graph that cannot work is refused, and the error names its agents") {
  Simulation world;
  const AssistantAgent a = node(world, "a", {"x"});
  const AssistantAgent b = node(world, "b", {"x"});
  const AssistantAgent c = node(world, "c", {"x"});
  CHECK(refused({}) == "graph \"graph\": no agents");
  CHECK(refused({.agents = {a, a}}) == "graph \"graph\": two agents are called \"a\"");
  CHECK(refused({.agents = {a, b}, .edges = {{"a", "zed"}}}) ==
        "graph \"graph\": the edge from \"a\" to \"zed\" names \"zed\", who is none of its agents");
  CHECK(refused({.agents = {a, b}, .edges = {{"a", "b"}, {"b", "a"}}}) ==
        "graph \"graph\": every agent waits for another: name one in `start`");
  CHECK(refused({.agents = {a, b, c}, .edges = {{"a", "b"}}, .start = {"a"}}) ==
        "graph \"graph\": these agents are never reached: c");
  CHECK(refused({.agents = {a, b, c}, .edges = {{"a", "c"}, {"b", "c"}}}) ==
        "graph \"graph\": c has 2 edges towards it: say in `joins` whether it waits for all of "
        "them or for any");
  CHECK(refused({.agents = {a, b},
                 .edges = {{"a", "b"}, {"b", "a"}},
                 .start = {"a"},
                 .joins = {{"a", Join::any}}}) ==
        "graph \"graph\": a cycle without a condition never ends: a, b");
  CHECK(refused({.agents = {a, b, c},
                 .edges = {{"a", "b"}, {"b", "c"}, {"c", "b", contains("again")}},
                 .joins = {{"b", Join::all}}}) ==
        "graph \"graph\": b waits for all, but c comes after it: the join must be `any`");
}
