#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <optional>

#include <moderato/agents/conversation.hpp>
#include <moderato/agents/tool.hpp>

namespace moderato {

/// Whoever receives a call runs it: with its own tool of that name, else with the one that the
/// caller was offered (a declaration without a function runs nothing); null: nobody has one.
[[nodiscard]] const Tool* tool_for(const Turn& turn, std::string_view name);

/// Runs a tool as its options say: on a worker or here, within its time and the chat's, again when
/// it fails. `totals` is kept alive as long as the tool may use it. The tool's own time limit is an
/// answer for the model; the chat's deadline is not.
[[nodiscard]] Result<std::string> run_within(Runtime& runtime, const Tool& tool,
                                             const ToolCall& call, ToolContext context,
                                             const CallContext& chat,
                                             const std::shared_ptr<CallTotals>& totals);

/// Failures that a model cannot mend by trying again: they end the chat instead of being told to
/// it.
[[nodiscard]] bool ends_the_chat(ErrorCode code) noexcept;

/// What a person is asked before a tool may run.
[[nodiscard]] std::string approval_question(std::string_view agent, const ToolCall& call);
/// What they mean by it: nullopt: it may; else the words for the model.
[[nodiscard]] std::optional<std::string> refusal_in(std::string_view answer, const ToolCall& call);

}  // namespace moderato
