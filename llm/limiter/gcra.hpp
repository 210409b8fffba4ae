#pragma once

// Private header of the library: not installed.

#include <array>
#include <cstddef>
#include <cstdint>

#include <moderato/core/time.hpp>

namespace moderato {

/// One rate limit, `limit` units per `period` with a burst, as integer arithmetic on instants (the
/// generic cell rate algorithm). Pure: time is a parameter and must not go backwards. Not thread
/// safe.
///
/// A call is admitted only if all limits of its key agree, so asking (`wait`) and taking (`take`)
/// are two steps: ask every limit first, then take from all of them or from none.
class Gcra {
 public:
  /// limit ≥ 1, period > 0, burst ≥ 0 (as time of quota). Starts full.
  Gcra(std::int64_t limit, Duration period, Duration burst) noexcept;

  /// The time that `units` take to come back: round(units · period / limit), from the exact
  /// product. Negative units give a negative time; saturates at ±50 years.
  [[nodiscard]] Duration cost(std::int64_t units) const noexcept;
  /// More than the limit can never be had at once, whatever the wait.
  [[nodiscard]] bool never_fits(std::int64_t units) const noexcept { return units > limit_; }

  /// How long a call of this cost waits, when calls go first that together take `ahead` (what they
  /// cost and the time for which the bucket stands full between them, see `idle`); 0: room now.
  /// A call larger than the burst is admitted when the bucket is full, and leaves a debt.
  [[nodiscard]] Duration wait(Instant now, Duration cost, Duration ahead = {}) const noexcept;
  /// How long the bucket will have stood full by `at`, after calls that together take `ahead`.
  [[nodiscard]] Duration idle(Instant at, Duration ahead = {}) const noexcept;
  /// Charges a call. Charging more than there is leaves a debt that later calls pay.
  /// `ahead`: the call leaves at `at`, and that lies so far in the future.
  void take(Instant at, Duration cost, Duration ahead = {}) noexcept;
  /// Takes back (part of) a charge that was made at `taken_at`. No effect if the bucket was found
  /// full since then: a full bucket would not be fuller without that charge. For the same reason no
  /// more is given back than calls that leave after `now` found owed.
  void give_back(Duration cost, Instant taken_at, Instant now) noexcept;

  /// Units that could go at once, rounded down; negative: debt.
  [[nodiscard]] std::int64_t level(Instant now) const noexcept;
  /// Sets the level; negative is a debt, more than the burst holds is full.
  void set_level(Instant now, std::int64_t units) noexcept;
  /// Goes on with another rate or burst; what is owed, as time, stays.
  void set_rate(std::int64_t limit, Duration period, Duration burst) noexcept;

  [[nodiscard]] std::int64_t limit() const noexcept { return limit_; }
  [[nodiscard]] Duration period() const noexcept { return period_; }
  [[nodiscard]] Duration burst() const noexcept { return burst_; }

 private:
  /// A call that leaves later, and how much it will find owed.
  struct Committed {
    Instant leaves{};
    Duration owed{};
  };
  void lower_by(Duration time) noexcept;
  static constexpr std::size_t most_committed = 4;  // beyond, two of them are taken for one

  std::int64_t limit_ = 1;
  Duration period_{};
  Duration burst_{};
  std::uint64_t scale_ = 0;  // period / limit as a binary fraction with shift_ fractional bits
  int shift_ = 0;
  Instant full_again_{};                 // when nothing would be owed any more
  Instant found_full_ = Instant::min();  // the last charge that found nothing owed
  std::array<Committed, most_committed> committed_{};
  std::size_t committed_count_ = 0;
};

}  // namespace moderato
