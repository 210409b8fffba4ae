#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <moderato/agents/conversable_agent.hpp>
#include <moderato/agents/tool.hpp>

namespace moderato {

struct AgentToolOptions {
  std::string name{};         ///< Empty: the agent's name, made a tool's name.
  std::string description{};  ///< Empty: the agent's description.
  /// Tokens that one task may take of what is left of the conversation's budget; unset: all of it.
  std::optional<std::int64_t> token_budget{};
  /// Tool calls in a row that are answered for the agent while it works on one task.
  std::int64_t max_tool_rounds = 10;
};

/// An agent as a tool: a model hands it a task in words, and gets its final words as the result.
/// The agent works in a talk of its own, which begins anew with each task, in the same session: its
/// model calls are charged to the conversation's budget within its own share, counted in its
/// result, recorded and replayed, and end with its deadline and its stop token. A task that ends
/// for another reason than that the agent has answered (its share is used up, its model fails) is a
/// failed call, and the model that asked for it reads why.
///
/// Throws std::invalid_argument for a name that is no tool's name, a negative budget, and
/// max_tool_rounds < 0.
[[nodiscard]] Tool agent_tool(const ConversableAgent& agent, AgentToolOptions options = {});

}  // namespace moderato
