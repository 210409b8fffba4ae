#pragma once

#include <atomic>

#include <moderato/core/time.hpp>

namespace moderato {

/// The only source of time in the library. Every wait is against a clock's time line.
/// Thread safe.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Monotonic now.
  [[nodiscard]] virtual Instant now() const noexcept = 0;
  /// Wall-clock now (UTC).
  [[nodiscard]] virtual WallTime wall_now() const noexcept = 0;
};

/// Real time: CLOCK_MONOTONIC and the system's wall clock.
class SteadyClock final : public Clock {
 public:
  [[nodiscard]] Instant now() const noexcept override;
  [[nodiscard]] WallTime wall_now() const noexcept override;
};

/// Time that moves only when told to. Starts at Instant{} and at 2026-01-01T00:00:00Z.
class VirtualClock final : public Clock {
 public:
  [[nodiscard]] Instant now() const noexcept override;
  [[nodiscard]] WallTime wall_now() const noexcept override;
  /// Moves forward to `to`; earlier instants are ignored.
  void advance_to(Instant to) noexcept;
  /// Moves forward by `by`.
  void advance(Duration by) noexcept { advance_to(now() + by); }

 private:
  std::atomic<Duration::rep> now_{0};
};

}  // namespace moderato
