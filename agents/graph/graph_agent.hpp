#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <moderato/agents/conversable_agent.hpp>
#include <moderato/termination/condition.hpp>

namespace moderato {

struct GraphDefinition;

/// When an agent with several edges towards it speaks.
enum class Join : std::uint8_t {
  all,  ///< When all of them have been taken.
  any,  ///< Whenever one of them is taken (once a step).
};

/// After `from` has spoken `to` may speak.
struct GraphEdge {
  std::string from{};
  std::string to{};
  /// Looks at what `from` said (`contains("APPROVED")`, `!contains("APPROVED")`); unset: always.
  std::optional<Condition> when{};
};

struct GraphOptions {
  std::string name = "graph";
  std::string description{};
  std::vector<ConversableAgent> agents{};  ///< The nodes, by their names.
  std::vector<GraphEdge> edges{};
  /// Who begins; empty: everybody without an edge towards it.
  std::vector<std::string> start{};
  /// Required for every agent with several edges towards it.
  std::map<std::string, Join> joins{};
  /// Times that one agent may speak in one run; more ends the run (max_messages).
  std::int64_t max_visits = 10;
  /// Steps of one run; more end it (max_messages).
  std::int64_t max_steps = 100;
  /// Tool rounds in one turn of one agent.
  int max_tool_rounds = 10;
  /// Agents that speak at a time; ≥ 1.
  std::size_t max_in_flight = 8;
};

/// A directed graph of agents that is itself an agent: whoever talks to it gets what the last
/// agents of the run said. Chat with it (`user.initiate_chat(graph, "…")`), put it into a group or
/// another graph, or lead a nested chat with it.
///
/// A run goes in steps. All agents whose turn it is speak at the same time, each knowing what was
/// said in earlier steps; then the edges that leave them are looked at. It has come to its end
/// (rule "completed") when nobody's turn is left; if an agent still waits for a join the stop is
/// no_reply and says who waits for whom. Each turn has a session of its own, with the
/// journal and the budget of the chat.
///
/// Throws std::invalid_argument, naming the agents: none; two of one name; edges, starts and joins
/// that name strangers; nobody to begin; agents that cannot be reached; several edges towards an
/// agent without a join; a join of all that waits for what comes after it; a cycle that no
/// condition can end, or from which no end is reached; a bound below 1.
class GraphAgent : public ConversableAgent {
 public:
  explicit GraphAgent(GraphOptions options);

 private:
  explicit GraphAgent(const std::shared_ptr<const GraphDefinition>& graph);
};

}  // namespace moderato
