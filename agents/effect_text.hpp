#pragma once

// Private header of the library: not installed.

#include <string>

#include <moderato/core/call_totals.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>

namespace moderato {

/// How effects whose result is a text (a tool's answer, a person's words) are written to the
/// journal:
/// {"text": …} or {"error": code, "message": …}. A failure is recorded like a success,
/// but an answer that is still to come is no result.
[[nodiscard]] Json encode_text(const Result<std::string>& result);
[[nodiscard]] Result<Result<std::string>> decode_text(const Json& json);

/// A tool's answer, and what the model calls used that it made.
struct ToolEffect {
  Result<std::string> text = std::string();
  CallTotals::Snapshot spent{};
};

/// The text's JSON; with "spent" if the tool made model calls.
[[nodiscard]] Json encode_tool_effect(const ToolEffect& effect);
[[nodiscard]] Result<ToolEffect> decode_tool_effect(const Json& json);

}  // namespace moderato
