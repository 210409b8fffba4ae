#include <moderato/llm/limiter/time_zone.hpp>

#include <fmt/format.h>

#include <fstream>
#include <iterator>

// g++ 12 has no tz database of its own, and the C library's is one zone for the whole process. But
// a file of the tz database ends with the rule that holds from now on, as a POSIX TZ string, and
// that is short enough to be read here.

namespace moderato {

using namespace std::chrono;

/// Reads a POSIX TZ string from left to right.
struct TimeZone::Parser {
  std::string_view rest;

  [[nodiscard]] bool take(char c) {
    if (rest.empty() || rest.front() != c) return false;
    rest.remove_prefix(1);
    return true;
  }
  /// "PST", "<+0330>"; at least three characters.
  [[nodiscard]] bool name() {
    std::size_t length = 0;
    if (take('<')) {
      length = rest.find('>');
      if (length == std::string_view::npos) return false;
      rest.remove_prefix(length + 1);
      return length >= 3;
    }
    while (length < rest.size() && ((rest[length] >= 'A' && rest[length] <= 'Z') ||
                                    (rest[length] >= 'a' && rest[length] <= 'z'))) {
      ++length;
    }
    rest.remove_prefix(length);
    return length >= 3;
  }
  [[nodiscard]] std::optional<unsigned> number(unsigned most) {
    unsigned value = 0;
    std::size_t digits = 0;
    while (digits < rest.size() && digits < 3 && rest[digits] >= '0' && rest[digits] <= '9') {
      value = value * 10 + static_cast<unsigned>(rest[digits++] - '0');
    }
    if (digits == 0 || value > most) return std::nullopt;
    rest.remove_prefix(digits);
    return value;
  }
  /// "[+-]hh[:mm[:ss]]".
  [[nodiscard]] std::optional<seconds> time() {
    const bool negative = take('-');
    if (!negative) (void)take('+');
    const auto h = number(167);
    if (!h) return std::nullopt;
    seconds all = hours(*h);
    if (take(':')) {
      const auto m = number(59);
      if (!m) return std::nullopt;
      all += minutes(*m);
      if (take(':')) {
        const auto s = number(59);
        if (!s) return std::nullopt;
        all += seconds(*s);
      }
    }
    return negative ? -all : all;
  }
  /// ",M3.2.0/2", ",J60", ",59/1:30".
  [[nodiscard]] std::optional<Change> change() {
    if (!take(',')) return std::nullopt;
    Change change;
    if (take('M')) {
      const auto month = number(12);
      const auto week = month && take('.') ? number(5) : std::nullopt;
      const auto day = week && take('.') ? number(6) : std::nullopt;
      if (!day || *month == 0 || *week == 0) return std::nullopt;
      change = {.month = *month, .week = *week, .day = *day};
    } else {
      const bool julian = take('J');
      const auto day = number(365);
      if (!day || (julian && *day == 0)) return std::nullopt;
      change = {.day = julian ? *day - 1 : *day, .leap_days = !julian};
    }
    if (take('/')) {
      const auto at = time();
      if (!at) return std::nullopt;
      change.time = *at;
    }
    return change;
  }
};

namespace {

tl::unexpected<Error> no_zone(std::string_view zone, std::string_view why) {
  return fail(ErrorCode::configuration,
              fmt::format("\"{}\" is no time zone: {}; name one of the tz database "
                          "(\"America/Los_Angeles\") or give a POSIX TZ string "
                          "(\"PST8PDT,M3.2.0,M11.1.0\")",
                          zone, why));
}

/// The rule at the end of a file of the tz database; empty if there is none.
std::string rule_in(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!text.starts_with("TZif") || text.size() < 2 || text.back() != '\n') return {};
  text.pop_back();
  const std::size_t begin = text.rfind('\n');
  return begin == std::string::npos ? "" : text.substr(begin + 1);
}

bool is_plain_name(std::string_view zone) {
  return zone.find("..") == std::string_view::npos && !zone.starts_with('/') &&
         zone.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_+-") ==
             std::string_view::npos;
}

seconds since_epoch(WallTime at) {
  return floor<seconds>(at.time_since_epoch());
}

}  // namespace

Result<TimeZone> TimeZone::of(std::string_view zone) {
  if (zone.empty()) return no_zone(zone, "it is empty");
  std::string rule;
  if (zone == "UTC") rule = "UTC0";
  if (rule.empty() && is_plain_name(zone))
    rule = rule_in("/usr/share/zoneinfo/" + std::string(zone));
  if (rule.empty()) rule = zone;

  TimeZone made;
  Parser parser{rule};
  if (!parser.name()) return no_zone(zone, "it begins with no name, and no file has its rule");
  const auto west = parser.time();
  if (!west) return no_zone(zone, "the name is not followed by an offset");
  made.standard_ = -*west;
  if (parser.rest.empty()) return made;
  if (!parser.name()) return no_zone(zone, "something follows the offset");
  made.summer_ = made.standard_ + hours(1);
  if (!parser.rest.empty() && parser.rest.front() != ',') {
    const auto summer_west = parser.time();
    if (!summer_west) return no_zone(zone, "the offset of summer time is wrong");
    made.summer_ = -*summer_west;
  }
  const auto begin = parser.change();
  const auto end = begin ? parser.change() : std::nullopt;
  if (!end || !parser.rest.empty()) return no_zone(zone, "when its clocks change is not said");
  made.begin_ = *begin;
  made.end_ = *end;
  return made;
}

/// Seconds from 1970-01-01 to the change, on the clock that is then in force.
seconds TimeZone::local_time_of(const Change& change, int year_number) {
  const std::chrono::year y{year_number};
  sys_days day;
  if (change.month == 0) {
    day = sys_days{y / January / 1} + days(change.day);
    if (!change.leap_days && y.is_leap() && change.day >= 59) day += days(1);
  } else if (change.week == 5) {
    day = sys_days{y / month{change.month} / weekday{change.day}[last]};
  } else {
    day = sys_days{y / month{change.month} / weekday{change.day}[change.week]};
  }
  return day.time_since_epoch() + change.time;
}

seconds TimeZone::offset_at(WallTime at) const {
  if (!summer_) return standard_;
  const seconds utc = since_epoch(at);
  const year_month_day date{floor<days>(sys_seconds(utc + standard_))};
  const int year = static_cast<int>(date.year());
  const seconds begin = local_time_of(begin_, year) - standard_;
  const seconds end = local_time_of(end_, year) - *summer_;
  const bool summer = begin < end ? utc >= begin && utc < end : utc >= begin || utc < end;
  return summer ? *summer_ : standard_;
}

TimeZone::Day TimeZone::day_of(WallTime at) const {
  const auto number = floor<days>(since_epoch(at) + offset_at(at)).count();
  const seconds midnight = days(number + 1);  // on the local clock
  // Clocks may change in between: the offset is that of the midnight itself.
  WallTime end{duration_cast<WallTime::duration>(midnight - offset_at(at))};
  end = WallTime{duration_cast<WallTime::duration>(midnight - offset_at(end))};
  return {.number = number, .end = end};
}

}  // namespace moderato
