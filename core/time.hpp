#pragma once

#include <chrono>

namespace moderato {

/// All durations of the library. Signed nanoseconds, ±292 years.
using Duration = std::chrono::nanoseconds;

/// The monotonic time line of one Clock. Only differences between instants of the same clock mean
/// anything; a virtual clock starts at zero.
struct MonotonicTimeline {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicTimeline>;
  static constexpr bool is_steady = true;
};

/// A point on a Clock's monotonic time line.
using Instant = MonotonicTimeline::time_point;

/// Wall-clock time (UTC), for people and for records; never used to measure.
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

/// "No limit in time".
inline constexpr Instant no_deadline = Instant::max();

/// `at + by` without overflow: no_deadline stays no_deadline.
[[nodiscard]] constexpr Instant saturating_add(Instant at, Duration by) noexcept {
  if (at == no_deadline || by == Duration::max()) return no_deadline;
  if (by > Duration::zero() && at.time_since_epoch() > Duration::max() - by) return no_deadline;
  return at + by;
}

}  // namespace moderato
