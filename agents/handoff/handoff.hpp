#pragma once

#include <optional>
#include <string>

#include <moderato/agents/conversable_agent.hpp>
#include <moderato/agents/describe.hpp>
#include <moderato/agents/tool.hpp>

namespace moderato {

/// What a tool returns to say who works on. Any tool may: its function returns a Handoff, or a text
/// that is a JSON object with "handoff_to" and, if it likes, "message". An object with more than
/// that is data (a page that a tool fetched, say) and hands nothing over.
struct Handoff {
  std::string handoff_to{};  ///< Name of a participant.
  std::string message{};     ///< What it should know.
};

template <>
struct Describe<Handoff> {
  static constexpr auto fields =
      std::tuple{field("handoff_to", &Handoff::handoff_to, "Who goes on"),
                 field("message", &Handoff::message, "What they should know").may_be_absent()};
};

/// A tool `transfer_to_NAME` with which a model hands the work over to `agent`; its model says why.
/// In a group chat with ByHandoff, whoever is named speaks next. Give it to the `tools` of those
/// who may hand over.
[[nodiscard]] Tool handoff_to(const std::string& agent, const std::string& description = {});
/// The same for an agent, told of by its description.
[[nodiscard]] Tool handoff_to(const ConversableAgent& agent);

/// The handoff that a tool's result tells of, if it does.
[[nodiscard]] std::optional<Handoff> handoff_in(const std::string& tool_result);

}  // namespace moderato
