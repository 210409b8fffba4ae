#pragma once

// Private header of the library: not installed.

#include <cstdint>

#include <moderato/core/time.hpp>
#include <moderato/llm/limiter/gcra.hpp>

namespace moderato {

/// Finds the rate of a quota that nobody states, neither the user nor a header: after the first
/// refusal it paces requests below the rate at which calls went before, and grows from there along
/// a cubic curve. Before that it only measures. A value without pointers. Pure; not thread safe.
class RateGovernor {
 public:
  /// False: calls are not paced (no refusal so far, or a quota is known).
  [[nodiscard]] bool active() const noexcept { return active_; }
  /// How long `requests` wait, with `ahead` going first; 0 if not active.
  [[nodiscard]] Duration wait(Instant now, std::int64_t requests,
                              std::int64_t ahead = 0) const noexcept;
  void take(Instant at, std::int64_t requests, Duration ahead = {}) noexcept;
  void give_back(Instant now, Instant taken_at, std::int64_t requests) noexcept;

  /// A call was answered: feeds the measured rate, and lets the pace grow.
  void succeeded(Instant now) noexcept;
  /// The provider refused, and not by a stated number: once a burst of refusals.
  void refused(Instant now) noexcept;
  /// The quota is known from now on.
  void stop() noexcept { active_ = false; }

  /// Requests a second that are allowed now; 0 if not active.
  [[nodiscard]] double rate() const noexcept { return active_ ? rate_ : 0.0; }

 private:
  void set_rate(double rate) noexcept;

  bool active_ = false;
  double rate_ = 0;      // requests a second
  double peak_ = 0;      // the rate at which the last refusal came
  double measured_ = 0;  // answers a second, over some ten seconds
  Instant measured_at_{};
  Instant cut_at_{};
  Gcra pace_{1, std::chrono::seconds(1), {}};
};

}  // namespace moderato
