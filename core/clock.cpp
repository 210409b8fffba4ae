#include <moderato/core/clock.hpp>

namespace moderato {

Instant SteadyClock::now() const noexcept {
  return Instant(std::chrono::steady_clock::now().time_since_epoch());
}

WallTime SteadyClock::wall_now() const noexcept {
  return std::chrono::system_clock::now();
}

Instant VirtualClock::now() const noexcept {
  return Instant(Duration(now_.load(std::memory_order_relaxed)));
}

WallTime VirtualClock::wall_now() const noexcept {
  constexpr auto new_year_2026 = std::chrono::sys_days(std::chrono::year(2026) / 1 / 1);
  return WallTime(new_year_2026) + Duration(now_.load(std::memory_order_relaxed));
}

void VirtualClock::advance_to(Instant to) noexcept {
  Duration::rep now = now_.load(std::memory_order_relaxed);
  while (now < to.time_since_epoch().count() &&
         !now_.compare_exchange_weak(now, to.time_since_epoch().count())) {
  }
}

}  // namespace moderato
