#pragma once

// Private header of the library: not installed.

#include <cstdint>

#include <moderato/core/time.hpp>

namespace moderato {

/// The slots for calls in flight: a fixed number, or one that follows additive increase and
/// multiplicative decrease (one more after a round of successes that used nearly all slots, half
/// after a refusal). Pure; not thread safe.
class InFlight {
 public:
  /// `slots` 0: no limit. `max_slots` 0: a fixed number; else adaptive, from 1 to `max_slots`.
  explicit InFlight(std::int64_t slots = 0, std::int64_t max_slots = 0) noexcept
      : slots_(slots), max_slots_(max_slots), adaptive_(max_slots > 0) {}

  [[nodiscard]] bool full() const noexcept { return slots_ > 0 && count_ >= slots_; }
  void take() noexcept { ++count_; }
  /// `held`: how long the slot was taken; negative: do not learn from it.
  void release(Duration held) noexcept;
  /// A call succeeded; before its release.
  void grow() noexcept;
  /// The provider refused the call `id`. Calls that were under way at the last cut cut no further.
  void cut(std::uint64_t id, std::uint64_t newest_id) noexcept;

  /// When a slot may come free for a call that has `ahead` calls before it: a guess from how long
  /// slots are held; 0 if there is room or nothing is known.
  [[nodiscard]] Duration expected_wait(std::size_t ahead) const noexcept;
  [[nodiscard]] std::int64_t count() const noexcept { return count_; }
  [[nodiscard]] std::int64_t slots() const noexcept { return slots_; }
  [[nodiscard]] std::int64_t max_slots() const noexcept { return adaptive_ ? max_slots_ : slots_; }

 private:
  std::int64_t slots_;
  std::int64_t max_slots_;
  bool adaptive_;
  std::int64_t count_ = 0;
  std::int64_t successes_ = 0;   // since the last change of slots_
  std::uint64_t cut_after_ = 0;  // only calls granted after this one may cut
  Duration mean_held_{};
};

}  // namespace moderato
