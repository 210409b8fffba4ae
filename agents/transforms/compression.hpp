#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <moderato/agents/transforms/token_limiter.hpp>
#include <moderato/agents/transforms/transform.hpp>
#include <moderato/llm/model.hpp>

namespace moderato {

struct Compression {
  /// Writes the summaries: a cheaper model than the agent's own. Required.
  Model model{};
  /// Nothing is compressed before the messages take more tokens than this.
  std::int64_t above_tokens = 4'000;
  /// So many of the newest messages are always shown as they are.
  std::size_t keep_newest = 4;
  bool keep_first_message = true;  ///< The task.
  /// Most tokens of a summary.
  std::int64_t max_summary_tokens = 500;
  std::string prompt =
      "Summarise the conversation below for somebody who has to go on with it. Keep every fact, "
      "number, name, decision and open question; leave out everything else.";
  Tokenizer tokenizer = rough_tokenizer();
};

/// Shows the older part of a long conversation as a summary that a cheaper model has written. The
/// summary is kept with the session and is added to, so a turn costs no call unless the messages
/// that are not summarised have grown above the threshold again.
///
/// The calls are made for the conversation (Purpose::summary): budget, quota, ledger and journal
/// see them. A budget that has no room, a cancellation or a deadline ends the chat; any other
/// failure is a warning, and the messages are shown as they are.
///
/// Throws std::invalid_argument: no model, a number that is not positive, no tokenizer.
[[nodiscard]] Transform compress_history(Compression settings);

}  // namespace moderato
