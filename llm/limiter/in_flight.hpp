#pragma once

// Private header of the library: not installed.

#include <cstdint>

#include <moderato/core/time.hpp>

namespace moderato {

/// The slots for calls in flight: a fixed number, or one that is found: it doubles with each round
/// of successes that used nearly all slots until the provider is overloaded for the first time, and
/// grows by one a round from then on; each overload halves it. A value without pointers. Pure; not
/// thread safe.
class InFlight {
 public:
  /// `slots` 0: no limit. `max_slots` 0: a fixed number; else adaptive, from 1 to `max_slots`.
  explicit InFlight(std::int64_t slots = 0, std::int64_t max_slots = 0) noexcept
      : slots_(slots), max_slots_(max_slots), adaptive_(max_slots > 0), round_slots_(slots) {}

  /// No slot for a call that has `ahead` calls before it.
  [[nodiscard]] bool full(std::size_t ahead = 0) const noexcept {
    return slots_ > 0 && count_ + static_cast<std::int64_t>(ahead) >= slots_;
  }
  void take() noexcept {
    ++count_;
    if (count_ > most_used_) most_used_ = count_;
  }
  /// `held`: how long the slot was taken; negative: do not learn from it.
  void release(Duration held) noexcept;
  /// A call succeeded; before its release.
  void grow() noexcept;
  /// The quota is known from elsewhere: all slots at once.
  void open_all() noexcept {
    if (adaptive_ && cut_after_ == 0) slots_ = max_slots_;
  }
  /// At most so many slots (0: says nothing).
  void tighten(std::int64_t slots) noexcept {
    if (slots > 0 && (slots_ == 0 || slots < slots_)) slots_ = slots;
  }
  /// Calls of a process that has died: their slots are free.
  void drop(std::int64_t calls) noexcept { count_ = calls < count_ ? count_ - calls : 0; }
  /// The provider refused the call `id`. Calls that were under way at the last cut cut no further.
  void cut(std::uint64_t id, std::uint64_t newest_id) noexcept;

  /// When a slot may come free for a call that has `ahead` calls before it: a guess from how long
  /// slots are held; 0 if there is room or nothing is known.
  [[nodiscard]] Duration expected_wait(std::size_t ahead) const noexcept;
  [[nodiscard]] std::int64_t count() const noexcept { return count_; }
  [[nodiscard]] std::int64_t slots() const noexcept { return slots_; }
  [[nodiscard]] std::int64_t max_slots() const noexcept { return adaptive_ ? max_slots_ : slots_; }

 private:
  void begin_round() noexcept;

  std::int64_t slots_;
  std::int64_t max_slots_;
  bool adaptive_;
  std::int64_t count_ = 0;
  std::int64_t successes_ = 0;    // in this round
  std::int64_t round_slots_ = 1;  // when it began; so many successes end it
  std::int64_t most_used_ = 0;    // in this round
  std::uint64_t cut_after_ = 0;   // only calls granted after this one may cut
  Duration mean_held_{};
};

}  // namespace moderato
