#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <moderato/llm/limiter/limiter.hpp>

namespace moderato {

/// What a quota would have done with a call that went at once.
struct ShadowVerdict {
  Ask ask{};
  /// How long it would have waited; for a `refused` call 0. Where only an ending call or the end of
  /// a pause makes room, that is not known, and it is 0 with a `reason`.
  Duration wait{};
  std::string reason{};  ///< Why it would have waited or been refused; empty: it would not.
  bool refused = false;
};

/// Of all calls so far.
struct ShadowReport {
  std::uint64_t calls = 0;
  std::uint64_t would_wait = 0;
  std::uint64_t would_be_refused = 0;
  std::uint64_t retries_beyond_budget = 0;  ///< That the retry budget would not have paid for.
  Duration longest_wait{};
  Duration waits{};  ///< Sum.
};

struct ShadowOptions {
  /// Told of each call that would have waited or been refused; on the caller's thread, briefly.
  std::function<void(const ShadowVerdict&)> on_verdict{};
};

/// A quota that is evaluated and never enforced: every call goes at once, as with unlimited(), and
/// what quota(options) would have done is counted. For trying a limit on a running service before
/// it is meant:
///
///   .limiter = shadow({.requests_per_minute = 600})
///
/// Calls are taken in the order in which they come, as if each had waited behind those before it;
/// what they really used settles the levels. Fairness between tenants, deadlines and the bounds of
/// the queue are not played. `describe()` has the counts in words. Thread safe.
///
/// Throws std::invalid_argument for a quota that makes no sense.
[[nodiscard]] Limiter shadow(QuotaOptions options, ShadowOptions shadow = {});

/// The same, with the counts at hand.
struct ShadowLimiter {
  Limiter limiter{};
  std::function<ShadowReport()> report{};
};
[[nodiscard]] ShadowLimiter shadow_with_report(QuotaOptions options, ShadowOptions shadow = {});

}  // namespace moderato
