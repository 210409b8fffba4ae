// A run of a graph, step by step. All agents whose turn it is speak at the same time; then what
// they said is put together in the order of the agents, and the edges are looked at. So the outcome
// depends on what was said and never on who was faster, and a replay goes the same way.
//
// Every turn has a session of its own: fibers that shared one would number their effects in an
// order that depends on time, which a replay does not have (see sequence/dependency_graph.cpp).
#include <moderato/agents/graph/graph_agent.hpp>

#include <fmt/core.h>

#include <algorithm>

#include <moderato/agents/child_session.hpp>
#include <moderato/agents/graph/graph_definition.hpp>
#include <moderato/agents/prompt.hpp>
#include <moderato/agents/team_turn.hpp>

namespace moderato {
namespace {

class GraphRun {
 public:
  GraphRun(const ReplyRequest& request, const GraphDefinition& graph)
      : request_(request),
        chat_(request.conversation),
        graph_(graph),
        run_(next_team_run(request.session, graph.options.name)),
        taken_(graph.edges.size()),
        visits_(graph.size()) {}

  Reply run() {
    const Message& task = **request_.messages.back();
    const std::string who = request_.sender != nullptr ? request_.sender->name() : "user";
    thread_.push_back(store(as_kept(task, task.name.empty() ? who : task.name, Role::user)));
    std::vector<std::size_t> turn = graph_.start;
    for (std::int64_t step = 0; !turn.empty(); ++step) {
      if (step == graph_.options.max_steps) return bound("max_steps", step, turn);
      for (const std::size_t node : turn) {
        if (++visits_[node] > graph_.options.max_visits) {
          return bound("max_visits", graph_.options.max_visits, {node});
        }
      }
      if (Stop stop = speak(turn)) return Reply::none(std::move(stop));
      if (Stop stop = chat_.check(graph_.options.name, false)) return Reply::none(std::move(stop));
      auto next = who_follows(turn);
      if (!next) return Reply::none(std::move(next).error());
      turn = std::move(*next);
    }
    return team_answer(request_, answer_, end());
  }

 private:
  struct Turn {
    std::unique_ptr<Session> session{};
    Thread thread{};
    Stop stop{};
  };

  Reply bound(const char* rule, std::int64_t most, const std::vector<std::size_t>& nodes) const {
    std::string names;
    for (const std::size_t node : nodes) names += (names.empty() ? "" : ", ") + graph_.name(node);
    return team_answer(request_, answer_,
                       {.reason = StopReason::max_messages,
                        .agent = graph_.options.name,
                        .rule = fmt::format("{}({})", rule, most),
                        .detail = "it would have been the turn of " + names});
  }

  // Everybody's turn at once. What was said is added in the order of the agents, also when one of
  // them fails.
  Stop speak(const std::vector<std::size_t>& nodes) {
    const Duration now = request_.session.effects().session_time();
    std::vector<Turn> turns(nodes.size());
    std::vector<std::size_t> indexes(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) indexes[i] = i;
    request_.session.runtime().parallel(indexes, {.max_in_flight = graph_.options.max_in_flight},
                                        [&](std::size_t i) { turns[i] = one_turn(nodes[i], now); });
    Stop stop{};
    answer_.clear();
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (turns[i].session) join_child_session(chat_, *turns[i].session);
      if (turns[i].stop && !stop) stop = turns[i].stop;
      if (turns[i].stop) continue;
      thread_.push_back(turns[i].thread.back());
      const std::string text = (*thread_.back())->text();
      if (nodes.size() > 1) answer_ += (i > 0 ? "\n\n" : "") + graph_.name(nodes[i]) + ": ";
      answer_ += text;
      said_[nodes[i]] = thread_.back();
    }
    return stop;
  }

  Turn one_turn(std::size_t node, Duration now) {
    Turn turn{.thread = thread_};
    const std::string name =
        fmt::format("{}.{}/{}.{}", graph_.options.name, run_, graph_.name(node), visits_[node]);
    auto session =
        guarded("the session", graph_.name(node), [&] { return child_session(chat_, name, now); });
    if (!session) {
      turn.stop = std::move(session).error();
      return turn;
    }
    turn.session = std::move(*session);
    const ChatOptions options{.silent = chat_.options().silent,
                              .stream = chat_.options().stream,
                              .repetition = {.report_after = 0, .stop_after = 0}};
    Conversation chat(*turn.session, options, &chat_);
    turn.stop = chat.begin(request_.agent, graph_.options.agents[node]);
    if (!turn.stop) {
      turn.stop = team_turn(chat, request_.agent, graph_.options.agents[node], turn.thread,
                            graph_.options.max_tool_rounds);
    }
    return turn;
  }

  tl::expected<std::vector<std::size_t>, Stop> who_follows(const std::vector<std::size_t>& spoke) {
    std::vector<std::size_t> next;
    const auto add = [&](std::size_t node) {
      if (std::find(next.begin(), next.end(), node) == next.end()) next.push_back(node);
    };
    for (std::size_t i = 0; i < graph_.edges.size(); ++i) {
      const auto& edge = graph_.edges[i];
      if (std::find(spoke.begin(), spoke.end(), edge.from) == spoke.end()) continue;
      if (edge.when) {
        auto holds = guarded("edge condition", graph_.name(edge.from),
                             [&] { return edge.when->matches(**said_.at(edge.from)); });
        if (!holds) return tl::unexpected<Stop>(std::move(holds).error());
        if (!*holds) continue;
      }
      taken_[i] = true;
      if (graph_.joins[edge.to] == Join::any) add(edge.to);
    }
    for (std::size_t node = 0; node < graph_.size(); ++node) {
      if (graph_.joins[node] == Join::all && all_taken(node)) add(node);
    }
    for (std::size_t i = 0; i < graph_.edges.size(); ++i) {
      if (std::find(next.begin(), next.end(), graph_.edges[i].to) != next.end()) taken_[i] = false;
    }
    std::sort(next.begin(), next.end());
    return next;
  }

  bool all_taken(std::size_t node) const {
    bool some = false;
    for (std::size_t i = 0; i < graph_.edges.size(); ++i) {
      if (graph_.edges[i].to != node) continue;
      if (!taken_[i]) return false;
      some = true;
    }
    return some;
  }

  Stop end() const {
    std::string waiting;
    for (std::size_t i = 0; i < graph_.edges.size(); ++i) {
      const auto& edge = graph_.edges[i];
      const bool begun = std::any_of(graph_.edges.begin(), graph_.edges.end(), [&](const auto& e) {
        return e.to == edge.to && taken_[static_cast<std::size_t>(&e - graph_.edges.data())];
      });
      if (begun && !taken_[i]) {
        waiting += fmt::format("{}{} waits for {}", waiting.empty() ? "" : ", ",
                               graph_.name(edge.to), graph_.name(edge.from));
      }
    }
    const bool complete = waiting.empty();
    return {.reason = complete ? StopReason::condition : StopReason::no_reply,
            .agent = graph_.options.name,
            .rule = complete ? "completed" : "no next speaker",
            .detail = complete ? "the graph has come to its end" : waiting};
  }

  const ReplyRequest& request_;
  Conversation& chat_;
  const GraphDefinition& graph_;
  const int run_;
  Thread thread_;
  std::string answer_;
  std::map<std::size_t, MessagePtr> said_;  // what each agent said last
  std::vector<bool> taken_;                 // edges, until their join is complete
  std::vector<std::int64_t> visits_;
};

ConversableOptions as_agent(const std::shared_ptr<const GraphDefinition>& graph) {
  return {
      .name = graph->options.name,
      .system_message = "A graph of agents.",
      .description = graph->options.description,
      .human_input_mode = HumanInputMode::never,
      .replies = {ReplyRegistration{
          .reply = [graph](const ReplyRequest& request) { return GraphRun(request, *graph).run(); },
          .remove_other_reply_funcs = true}}};
}

}  // namespace

GraphAgent::GraphAgent(GraphOptions options)
    : GraphAgent(std::make_shared<const GraphDefinition>(std::move(options))) {}

GraphAgent::GraphAgent(const std::shared_ptr<const GraphDefinition>& graph)
    : ConversableAgent(AgentKind::team, as_agent(graph),
                       AgentInside{.members = graph->options.agents, .group = nullptr}) {}

}  // namespace moderato
