#pragma once

#include <stop_token>
#include <string>

#include <moderato/core/time.hpp>

namespace moderato {

/// On whose behalf a tool runs. A callable that takes a `const ToolContext&` as its first or last
/// parameter is given it. A plain value.
struct ToolContext {
  std::string agent{};    ///< Who runs the tool.
  std::string call_id{};  ///< May be empty: some servers give calls no id.
  std::string session{};  ///< Session id; empty outside a session.
  /// Triggered when the result is no longer wanted: the chat was stopped, or the time is up.
  std::stop_token stop{};
  Instant deadline = no_deadline;  ///< On the runtime's clock.
};

}  // namespace moderato
