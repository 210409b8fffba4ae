#pragma once

// Private header of the library: not installed.

#include <moderato/agents/graph/graph_agent.hpp>

namespace moderato {

/// A graph that has been checked, with its nodes by index.
struct GraphDefinition {
  struct Edge {
    std::size_t from = 0;
    std::size_t to = 0;
    std::optional<Condition> when{};
  };

  /// Throws std::invalid_argument as GraphAgent says.
  explicit GraphDefinition(GraphOptions given);

  GraphOptions options;
  std::vector<Edge> edges{};
  std::vector<std::size_t> start{};
  std::vector<Join> joins{};  ///< Of each node.

  [[nodiscard]] std::size_t size() const noexcept { return options.agents.size(); }
  [[nodiscard]] const std::string& name(std::size_t node) const {
    return options.agents[node].name();
  }
};

}  // namespace moderato
