#pragma once

#include <cstddef>

#include <moderato/agents/transforms/transform.hpp>

namespace moderato {

struct HistoryLimit {
  std::size_t max_messages = 0;  ///< Required, ≥ 1.
  /// The first message (the task) is always among them.
  bool keep_first_message = false;
};

/// Shows only the newest messages (AutoGen's MessageHistoryLimiter). The last free place is not
/// given to a tool's answer, whose call would not fit. If the newest message answers a call and
/// there is one place only, both are shown.
///
/// Throws std::invalid_argument for max_messages 0.
[[nodiscard]] Transform history_limiter(HistoryLimit limit);

/// The same as a pure function.
[[nodiscard]] MessageList limit_history(const MessageList& messages, const HistoryLimit& limit);

}  // namespace moderato
