#pragma once

// Private header of the library: not installed.

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include <moderato/core/doctor/diagnosis.hpp>

namespace moderato {

using CallList = std::vector<const CallRecord*>;

/// A history, sorted for those who look for causes in it. Refers to it.
struct CaseFacts {
  explicit CaseFacts(const CaseHistory& from);

  const CaseHistory& history;
  CallList sent{};                               ///< Every attempt that went out, by time.
  CallList answered{};                           ///< The good ones, by time.
  CallList refused{};                            ///< 429s that mean "later", by time.
  CallList unpaid{};                             ///< Those that mean money.
  std::map<std::string_view, CallList> chats{};  ///< Answered, by session.
  std::size_t refused_for_tokens = 0;
  double seconds = 0.0;  ///< From the first request to the last answer.

  /// Share of what was sent that was too much.
  [[nodiscard]] double overrun() const noexcept {
    return sent.empty() ? 0.0
                        : static_cast<double>(refused.size()) / static_cast<double>(sent.size());
  }
  /// What share of the refusals would not have been, had `excess` (0 to 1) of the load not been.
  [[nodiscard]] double explained(double excess) const noexcept {
    if (refused.empty()) return excess;
    return std::min(1.0, excess / overrun());
  }
  /// The same for an excess of tokens: only refusals for tokens are explained.
  [[nodiscard]] double explained_by_tokens(double excess) const noexcept {
    if (refused.empty()) return excess;
    return explained(excess) * static_cast<double>(refused_for_tokens) /
           static_cast<double>(refused.size());
  }
};

using MaybeExplanation = std::optional<Explanation>;

// One function for each cause; nullopt: it is not there.
MaybeExplanation find_billing(const CaseFacts& facts);
MaybeExplanation find_parallel_bursts(const CaseFacts& facts);
MaybeExplanation find_stacked_retries(const CaseFacts& facts);
MaybeExplanation find_foreign_consumption(const CaseFacts& facts);
/// `explained`: what the other causes of refusals explain.
MaybeExplanation find_quota_too_small(const CaseFacts& facts, double explained);
MaybeExplanation find_loop(const CaseFacts& facts);
MaybeExplanation find_chatter(const CaseFacts& facts);
MaybeExplanation find_high_cap(const CaseFacts& facts);
MaybeExplanation find_speaker_selection(const CaseFacts& facts);
MaybeExplanation find_context_growth(const CaseFacts& facts);
MaybeExplanation find_long_outputs(const CaseFacts& facts);
MaybeExplanation find_cache_misses(const CaseFacts& facts);
MaybeExplanation find_slow_tool(const CaseFacts& facts);

/// The value below which `part` (0 to 1) of the numbers lie; 0 of none.
template <class Number>
[[nodiscard]] Number quantile(std::vector<Number> numbers, double part) {
  if (numbers.empty()) return {};
  const auto at = static_cast<std::size_t>(part * static_cast<double>(numbers.size() - 1) + 0.5);
  std::nth_element(numbers.begin(), numbers.begin() + static_cast<std::ptrdiff_t>(at),
                   numbers.end());
  return numbers[at];
}

[[nodiscard]] inline double in_seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace moderato
