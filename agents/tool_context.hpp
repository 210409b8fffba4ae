#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include <moderato/core/call_context.hpp>
#include <moderato/core/time.hpp>

namespace moderato {

class Conversation;

/// On whose behalf a tool runs. A callable that takes a `const ToolContext&` as its first or last
/// parameter is given it. A plain value.
struct ToolContext {
  std::string agent{};    ///< Who runs the tool.
  std::string call_id{};  ///< May be empty: some servers give calls no id.
  std::string session{};  ///< Session id; empty outside a session.
  /// Triggered when the result is no longer wanted: the chat was stopped, or the time is up.
  std::stop_token stop{};
  Instant deadline = no_deadline;  ///< On the runtime's clock.
  /// For model calls that the tool makes: they are paid from the chat's budget, are counted in its
  /// usage (as part of the tool's result, so that a replay makes none of them), and end with `stop`
  /// and `deadline`.
  CallContext context{};
  /// Says how far the tool is: a tool_progress event. Null where nobody listens. Thread safe.
  std::function<void(std::string)> progress{};
  /// The conversation that asks, for the library's own tools; null unless the tool
  /// `acts_in_session`.
  Conversation* conversation = nullptr;
};

}  // namespace moderato
