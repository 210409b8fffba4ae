#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <moderato/llm/limiter/time_zone.hpp>
#include <string>

namespace moderato {
namespace {

using namespace std::chrono;

WallTime at(sys_seconds time) {
  return WallTime{duration_cast<WallTime::duration>(time.time_since_epoch())};
}
WallTime at(year_month_day day, seconds time = {}) {
  return at(sys_seconds{sys_days{day}} + time);
}

/// The C library's opinion.
seconds offset_by_libc(const char* zone, sys_seconds time) {
  ::setenv("TZ", zone, 1);
  ::tzset();
  const std::time_t seconds_since = time.time_since_epoch().count();
  std::tm local{};
  ::localtime_r(&seconds_since, &local);
  return seconds(local.tm_gmtoff);
}

std::string refusal(std::string_view zone) {
  const auto made = TimeZone::of(zone);
  return made ? "accepted" : made.error().message;
}

}  // namespace

TEST_CASE("offsets are those of the C library, every three hours of four years") {
  const char* before = std::getenv("TZ");
  const std::string kept = before != nullptr ? before : "";
  for (const char* zone :
       {"UTC0", "PST8PDT,M3.2.0,M11.1.0", "CET-1CEST,M3.5.0,M10.5.0/3", "<+0530>-5:30",
        "AEST-10AEDT,M10.1.0,M4.1.0/3", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        "NST3:30NDT,M3.2.0,M11.1.0", "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "EST5EDT,J60,J300",
        "EST5EDT,59/3,299/1:30"}) {
    CAPTURE(zone);
    const auto made = TimeZone::of(zone);
    REQUIRE_MESSAGE(made.has_value(), made.error().message);
    int different = 0;
    for (sys_seconds time = sys_days{2026y / January / 1}; time < sys_days{2030y / January / 1};
         time += 3h) {
      if (made->offset_at(at(time)) != offset_by_libc(zone, time)) ++different;
    }
    CHECK(different == 0);
  }
  if (before != nullptr) {
    ::setenv("TZ", kept.c_str(), 1);
  } else {
    ::unsetenv("TZ");
  }
  ::tzset();
}

TEST_CASE("days end at the zone's midnight, whether they have 23, 24 or 25 hours") {
  const TimeZone pacific = *TimeZone::of("PST8PDT,M3.2.0,M11.1.0");
  const auto hours_of = [&](year_month_day day) {
    const auto noon = pacific.day_of(at(day, 20h));
    const auto before = pacific.day_of(at(day, 20h) - 24h);
    CHECK(noon.number == before.number + 1);
    return duration_cast<hours>(noon.end - before.end).count();
  };
  CHECK(hours_of(2026y / January / 15) == 24);
  CHECK(hours_of(2026y / March / 8) == 23);
  CHECK(hours_of(2026y / November / 1) == 25);
  CHECK(pacific.day_of(at(2026y / January / 15, 20h)).end == at(2026y / January / 16, 8h));
  CHECK(pacific.day_of(at(2026y / July / 1, 20h)).end == at(2026y / July / 2, 7h));
  // A moment before midnight is the day before.
  CHECK(pacific.day_of(at(2026y / January / 16, 8h) - 1ms).end == at(2026y / January / 16, 8h));
  CHECK(pacific.day_of(at(2026y / January / 16, 8h)).end == at(2026y / January / 17, 8h));
}

TEST_CASE("what is no zone is an error that says so") {
  CHECK(TimeZone::of("UTC").has_value());
  CHECK(refusal("").find("it is empty") != std::string::npos);
  CHECK(refusal("Atlantis/Center").find("\"Atlantis/Center\" is no time zone") == 0);
  CHECK(refusal("PST").find("not followed by an offset") != std::string::npos);
  CHECK(refusal("XST8XDT").find("when its clocks change") != std::string::npos);
  CHECK(refusal("XST8XDT,M13.2.0,M11.1.0").find("when its clocks change") != std::string::npos);
  CHECK(refusal("XST8XDT,M3.2.0,M11.1.0x").find("when its clocks change") != std::string::npos);
  CHECK(refusal("../../etc/passwd").find("is no time zone") != std::string::npos);
  CHECK(refusal("PST99999").find("is no time zone") != std::string::npos);
}

}  // namespace moderato
