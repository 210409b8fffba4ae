#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include <moderato/llm/request.hpp>

namespace moderato {

/// Counts the prompt tokens of a request without a tokenizer, and learns from what providers report.
/// One per Model. Thread safe.
class TokenEstimator {
 public:
  /// The expected number: characters / 4 × calibration, plus a fixed cost a message, an image, a tool.
  [[nodiscard]] std::int64_t estimate(const ModelRequest& request) const;
  /// Never less than the real number for a byte-level tokenizer: one token a byte of what is sent as
  /// text, plus the fixed costs. For hard budgets.
  [[nodiscard]] std::int64_t upper_bound(const ModelRequest& request) const;
  /// Moves the calibration towards `measured` (exponential average, weight 0.1, within [0.5, 3]).
  void learn(std::int64_t estimated, std::int64_t measured);
  [[nodiscard]] double calibration() const;
  /// Tokens of a text by the uncalibrated rule: for streams without a usage chunk.
  [[nodiscard]] static std::int64_t of_text(std::string_view text) noexcept;

 private:
  mutable std::mutex mutex_;
  double calibration_ = 1.0;
};

}  // namespace moderato
