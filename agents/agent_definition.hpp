#pragma once

// Private header of the library: not installed.

#include <string>
#include <string_view>
#include <vector>

#include <moderato/agents/conversable_agent.hpp>

namespace moderato {

/// What stands behind the handles of an agent; never changes.
struct AgentDefinition {
  AgentDefinition(AgentKind made_as, ConversableOptions settings, AgentInside inside);

  AgentKind kind;
  ConversableOptions options;
  ToolList offered;   ///< Definitions of options.tools; null without tools.
  MessagePtr system;  ///< The system message.
  std::vector<ReplySlot> replies;
  AgentInside inside;

  /// A tool that this agent itself can run; null if it has none of that name.
  [[nodiscard]] const Tool* runnable(std::string_view name) const noexcept;
  /// A tool that this agent's model may ask for; null if there is none of that name.
  [[nodiscard]] const Tool* offered_tool(std::string_view name) const noexcept;

  [[nodiscard]] static const AgentDefinition& of(const ConversableAgent& agent) noexcept {
    return *agent.definition_;
  }
};

/// AssistantOptions or UserProxyOptions as ConversableOptions: field by field.
template <class Options>
[[nodiscard]] ConversableOptions as_conversable(Options options) {
  return {.name = std::move(options.name),
          .system_message = std::move(options.system_message),
          .description = std::move(options.description),
          .model = std::move(options.model),
          .sampling = std::move(options.sampling),
          .tools = std::move(options.tools),
          .human_input_mode = options.human_input_mode,
          .max_consecutive_auto_reply = options.max_consecutive_auto_reply,
          .is_termination_msg = std::move(options.is_termination_msg),
          .default_auto_reply = std::move(options.default_auto_reply),
          .human_input = std::move(options.human_input),
          .runs = std::move(options.runs),
          .replies = std::move(options.replies),
          .hooks = std::move(options.hooks),
          .max_parallel_tools = options.max_parallel_tools,
          .transforms = std::move(options.transforms),
          .code_execution = std::move(options.code_execution),
          .allow_format_str_template = options.allow_format_str_template};
}

}  // namespace moderato
