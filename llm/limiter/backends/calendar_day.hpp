#pragma once

#include <cstdint>
#include <string>

#include <moderato/core/clock.hpp>
#include <moderato/llm/limiter/limiter.hpp>

namespace moderato {

/// What may be used in a calendar day; 0: no limit.
struct CalendarDayOptions {
  std::int64_t requests = 0;
  std::int64_t tokens = 0;  ///< Input and output together.
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  double money = 0;  ///< In the unit of ModelOptions::price.
  /// Where midnight is: a name of the tz database ("America/Los_Angeles"), or a POSIX TZ string
  /// ("PST8PDT,M3.2.0,M11.1.0") where the machine has no tz database.
  std::string zone = "UTC";
  QueueOptions queue{};
  std::string name{};  ///< In events. Empty: "calendar_day".
};

/// A quota that begins anew at midnight in a zone, as Gemini counts requests a day.
/// (requests_per_day of QuotaOptions are those of any 24 hours.) All of it may be used at once;
/// combine it with the quota by the minute:
///
///   .limiter = quota({.requests_per_minute = 15}) &
///              calendar_day(runtime.clock(), {.requests = 1500, .zone = "America/Los_Angeles"})
///
/// When it is used up calls wait for midnight, if that is not longer than
/// QueueOptions::max_queue_time (1 hour unless you say otherwise), and are refused before. Kept in
/// this process: processes that share a key each need their part of it, and a restart begins anew.
/// `clock` must outlive the limiter. Thread safe.
///
/// Throws std::invalid_argument for a zone that is none, a negative number, and no limit at all.
[[nodiscard]] Limiter calendar_day(const Clock& clock, CalendarDayOptions options);

}  // namespace moderato
