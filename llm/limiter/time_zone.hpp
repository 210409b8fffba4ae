#pragma once

// Private header of the library: not installed.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <moderato/core/result.hpp>
#include <moderato/core/time.hpp>

namespace moderato {

/// A zone whose clocks change by a rule, if at all: what a POSIX TZ string says
/// ("PST8PDT,M3.2.0,M11.1.0"; IEEE Std 1003.1, 8.3).
class TimeZone {
 public:
  /// A POSIX TZ string, or a name of the tz database ("America/Los_Angeles"): of its file in
  /// /usr/share/zoneinfo the rule at the end is taken, which holds from now on. Errors:
  /// configuration.
  [[nodiscard]] static Result<TimeZone> of(std::string_view zone);

  /// What is added to UTC to get the local time.
  [[nodiscard]] std::chrono::seconds offset_at(WallTime at) const;
  struct Day {
    std::int64_t number = 0;  ///< Local days since 1970-01-01.
    WallTime end{};           ///< The next midnight there.
  };
  /// The local day that holds `at`. Of 23, 24 or 25 hours.
  [[nodiscard]] Day day_of(WallTime at) const;

 private:
  /// When clocks change: the `day` (0: Sunday) of the `week` (5: the last) of a month, or with
  /// month 0 a day of the year.
  struct Change {
    unsigned month = 0;
    unsigned week = 0;
    unsigned day = 0;
    bool leap_days = false;  ///< The day of the year counts 29 February.
    std::chrono::seconds time = std::chrono::hours(2);
  };
  struct Parser;
  [[nodiscard]] static std::chrono::seconds local_time_of(const Change& change, int year);

  std::chrono::seconds standard_{};
  std::optional<std::chrono::seconds> summer_{};
  Change begin_{};
  Change end_{};
};

}  // namespace moderato
