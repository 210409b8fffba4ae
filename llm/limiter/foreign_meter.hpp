#pragma once

// Private header of the library: not installed.

#include <cstdint>

#include <moderato/core/time.hpp>

namespace moderato {

/// How much of a quota others use: the part of the fall of `remaining` that our own charges do not
/// explain. A value without pointers. Pure; not thread safe.
class ForeignMeter {
 public:
  /// A response to a request that was granted at `at`, when we had charged `charged` units in all,
  /// said that `remaining` of `limit` units per `period` were left.
  void observe(Instant at, std::int64_t remaining, std::int64_t charged, std::int64_t limit,
               Duration period) noexcept;
  /// Units a second that others take; 0 while it is less than a twentieth of the quota, or not yet
  /// seen three times.
  [[nodiscard]] double rate() const noexcept { return seen_ >= 3 ? reported_ : 0.0; }

 private:
  Instant at_{};
  std::int64_t remaining_ = -1;  // of the sample before; -1: none
  std::int64_t charged_ = 0;
  double rate_ = 0;  // smoothed
  double reported_ = 0;
  int seen_ = 0;
};

}  // namespace moderato
