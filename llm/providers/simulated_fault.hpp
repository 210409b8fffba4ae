#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <moderato/core/result.hpp>

namespace moderato {

/// What a simulated provider does wrong on purpose.
enum class FaultKind : std::uint8_t {
  none,
  reset,             ///< The connection breaks before an answer.
  stall,             ///< Silence: no answer ever.
  truncated,         ///< The answer ends in its middle.
  malformed_stream,  ///< A stream (or an answer) that is not what the protocol says.
  // Errors with OpenAI's words:
  server_error,         ///< HTTP 500.
  overloaded,           ///< HTTP 503 server_is_overloaded.
  slow_down,            ///< 429 slow_down.
  refuse_without_hint,  ///< 429 rate_limit_exceeded that does not say when.
  // 429s that mean billing, which no wait cures:
  insufficient_quota,
  credit_balance,
  organization_spend_limit,
  project_spend_limit,
  organization_usage_limit,
};

/// "reset", "stall", "truncated", "malformed", "500", "503", "slow-down", "429-without-hint",
/// "insufficient-quota", "credit-balance", "organization-spend-limit", "project-spend-limit",
/// "organization-usage-limit".
[[nodiscard]] std::string_view to_string(FaultKind kind) noexcept;
[[nodiscard]] std::optional<FaultKind> fault_kind_from_string(std::string_view name) noexcept;
/// The names of all kinds but none, for help texts.
[[nodiscard]] std::string fault_kind_names();

/// When a fault happens: every `every`-th request (1: each), or with a probability. Admitted
/// requests are counted; the first fault of a list that applies happens.
struct SimulatedFault {
  FaultKind kind = FaultKind::none;
  double probability = 0.0;
  std::int64_t every = 0;
  bool operator==(const SimulatedFault&) const = default;
};

/// Reads "KIND:PROBABILITY" ("500:0.1") or "KIND:every=N". A configuration error says what is
/// wrong.
[[nodiscard]] Result<SimulatedFault> simulated_fault_from_string(std::string_view text);

/// An HTTP error with a provider's words.
struct FaultError {
  int status = 0;
  std::string_view type{};
  std::string_view code{};
  std::string_view message{};
};
/// nullopt for the kinds that are no HTTP error.
[[nodiscard]] std::optional<FaultError> error_of(FaultKind kind) noexcept;

}  // namespace moderato
