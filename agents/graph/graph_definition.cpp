#include <moderato/agents/graph/graph_definition.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <stdexcept>

namespace moderato {
namespace {

using Nodes = std::vector<bool>;

[[noreturn]] void refuse(const GraphOptions& options, const std::string& why) {
  throw std::invalid_argument(fmt::format("graph \"{}\": {}", options.name, why));
}

std::size_t node_named(const GraphOptions& options, const std::string& name,
                       const std::string& where) {
  for (std::size_t i = 0; i < options.agents.size(); ++i) {
    if (options.agents[i].name() == name) return i;
  }
  refuse(options, fmt::format("{} names \"{}\", who is none of its agents", where, name));
}

// Everything that can be reached from `begin` over edges that `follow` accepts.
template <class Follow>
Nodes reached(const GraphDefinition& graph, const std::vector<std::size_t>& begin, Follow follow) {
  Nodes seen(graph.size());
  std::vector<std::size_t> open = begin;
  while (!open.empty()) {
    const std::size_t node = open.back();
    open.pop_back();
    if (seen[node]) continue;
    seen[node] = true;
    for (const auto& edge : graph.edges) {
      if (edge.from == node && follow(edge)) open.push_back(edge.to);
    }
  }
  return seen;
}

// What can be reached from a node in one step or more.
template <class Follow>
Nodes after(const GraphDefinition& graph, std::size_t node, Follow follow) {
  std::vector<std::size_t> next;
  for (const auto& edge : graph.edges) {
    if (edge.from == node && follow(edge)) next.push_back(edge.to);
  }
  return reached(graph, next, follow);
}

constexpr auto any_edge = [](const GraphDefinition::Edge&) { return true; };
constexpr auto always_taken = [](const GraphDefinition::Edge& edge) { return !edge.when; };

template <class Predicate>
std::string those(const GraphDefinition& graph, Predicate predicate) {
  std::string names;
  for (std::size_t i = 0; i < graph.size(); ++i) {
    if (predicate(i)) names += (names.empty() ? "" : ", ") + graph.name(i);
  }
  return names;
}

void check_reachable(const GraphDefinition& graph) {
  const Nodes seen = reached(graph, graph.start, any_edge);
  const std::string lost = those(graph, [&](std::size_t i) { return !seen[i]; });
  if (!lost.empty()) refuse(graph.options, "these agents are never reached: " + lost);
}

// A cycle of edges that are always taken goes round for ever, and so does one that leads nowhere
// else. An end is an agent that nothing always follows.
void check_ends(const GraphDefinition& graph) {
  const std::string forever = those(
      graph, [&](std::size_t i) { return static_cast<bool>(after(graph, i, always_taken)[i]); });
  if (!forever.empty()) {
    refuse(graph.options, "a cycle without a condition never ends: " + forever);
  }
  Nodes is_end(graph.size(), true);
  for (const auto& edge : graph.edges) {
    if (!edge.when) is_end[edge.from] = false;
  }
  const std::string trapped = those(graph, [&](std::size_t i) {
    const Nodes seen = reached(graph, {i}, any_edge);
    for (std::size_t node = 0; node < graph.size(); ++node) {
      if (seen[node] && is_end[node]) return false;
    }
    return true;
  });
  if (!trapped.empty()) refuse(graph.options, "no end is reached from: " + trapped);
}

void check_joins(const GraphDefinition& graph) {
  for (std::size_t i = 0; i < graph.size(); ++i) {
    const auto towards = std::count_if(graph.edges.begin(), graph.edges.end(),
                                       [&](const auto& edge) { return edge.to == i; });
    if (towards > 1 && !graph.options.joins.contains(graph.name(i))) {
      refuse(graph.options, fmt::format("{} has {} edges towards it: say in `joins` whether it "
                                        "waits for all of them or for any",
                                        graph.name(i), towards));
    }
    if (graph.joins[i] != Join::all) continue;
    const Nodes later = after(graph, i, any_edge);
    for (const auto& edge : graph.edges) {
      const bool begins = std::find(graph.start.begin(), graph.start.end(), i) != graph.start.end();
      if (edge.to == i && later[edge.from] && (towards > 1 || begins)) {
        refuse(graph.options,
               fmt::format("{} waits for all, but {} comes after it: the join must be `any`",
                           graph.name(i), graph.name(edge.from)));
      }
    }
  }
}

}  // namespace

GraphDefinition::GraphDefinition(GraphOptions given) : options(std::move(given)) {
  if (options.agents.empty()) refuse(options, "no agents");
  if (options.max_visits < 1 || options.max_steps < 1 || options.max_in_flight < 1 ||
      options.max_tool_rounds < 1) {
    refuse(options, "max_visits, max_steps, max_in_flight and max_tool_rounds are at least 1");
  }
  std::map<std::string, int> names;
  for (const ConversableAgent& agent : options.agents) {
    if (++names[agent.name()] > 1 || agent.name() == options.name) {
      refuse(options, fmt::format("two agents are called \"{}\"", agent.name()));
    }
  }
  Nodes entered(options.agents.size());
  for (const GraphEdge& edge : options.edges) {
    const std::string where = fmt::format("the edge from \"{}\" to \"{}\"", edge.from, edge.to);
    edges.push_back({.from = node_named(options, edge.from, where),
                     .to = node_named(options, edge.to, where),
                     .when = edge.when});
    entered[edges.back().to] = true;
  }
  for (const std::string& name : options.start) {
    start.push_back(node_named(options, name, "start"));
  }
  for (std::size_t i = 0; options.start.empty() && i < options.agents.size(); ++i) {
    if (!entered[i]) start.push_back(i);
  }
  if (start.empty()) refuse(options, "every agent waits for another: name one in `start`");
  joins.assign(options.agents.size(), Join::all);
  for (const auto& [name, join] : options.joins) joins[node_named(options, name, "joins")] = join;
  for (std::size_t i = 0; i < options.agents.size(); ++i) {  // one edge: no question
    const auto towards =
        std::count_if(edges.begin(), edges.end(), [&](const Edge& edge) { return edge.to == i; });
    if (towards == 1 && !options.joins.contains(name(i))) joins[i] = Join::any;
  }
  check_reachable(*this);
  check_joins(*this);
  check_ends(*this);
}

}  // namespace moderato
