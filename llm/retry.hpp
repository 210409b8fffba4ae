#pragma once

// Private header of the library: not installed.

#include <optional>

#include <moderato/llm/limiter/ask.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/llm/provider.hpp>

namespace moderato {

// What the end of an attempt means: pure functions, asked by Model and by nobody else.

/// Another attempt may end better. No for what is wrong with the request, the key, the
/// configuration, the bill or the caller's time; `x-should-retry: false` means no, `true` makes a
/// yes of an error status, but never of billing or of a request that is too large for its quota.
[[nodiscard]] bool worth_retrying(const ProviderOutcome& outcome);

/// How long to wait before attempt `failed_attempt` + 1. With a hint h (`error.retry_after`):
/// h + random · min(5 s, h/10 + 0.25 s), never less than h. Without: random · min(max_delay,
/// base_delay · 2ⁿ⁻¹) with n = failed_attempt, twice that base when the provider is overloaded.
/// `random` is in [0, 1).
[[nodiscard]] Duration retry_delay(const RetryOptions& options, const Error& error,
                                   int failed_attempt, double random);

/// Whether a failed attempt may have cost tokens.
enum class Spending : std::uint8_t {
  none,     ///< Nothing was sent, or it was refused before any work was done.
  unknown,  ///< It may have been worked on: what was reserved is charged.
};
[[nodiscard]] Spending spending_of_failure(const ProviderOutcome& outcome);

/// The end of an attempt as the limiter has to know it. `used` is what is charged for it.
[[nodiscard]] Outcome limiter_outcome(const ProviderOutcome& outcome, const Usage& used);

}  // namespace moderato
