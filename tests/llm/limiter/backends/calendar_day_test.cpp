#include <doctest/doctest.h>

#include <moderato/core/simulation.hpp>
#include <moderato/llm/limiter/backends/calendar_day.hpp>
#include <stdexcept>
#include <vector>

namespace moderato {
namespace {

using namespace std::chrono_literals;

// A simulation begins on 2026-01-01 at 00:00 UTC: 16:00 of the day before in Los Angeles.
constexpr const char* pacific = "PST8PDT,M3.2.0,M11.1.0";

CalendarDayOptions patient(CalendarDayOptions options) {
  options.queue.max_queue_time = 48h;
  return options;
}

/// When each of `calls` may leave, asked one after the other.
std::vector<Duration> leave_at(Simulation& world, Limiter limiter, int calls, Outcome outcome) {
  std::vector<Duration> left;
  const auto task = world.spawn([&] {
    for (int i = 0; i < calls; ++i) {
      auto permit = limiter.acquire({.input_tokens = 100}, {}, world.clock());
      REQUIRE_MESSAGE(permit.has_value(), permit.error().message);
      left.push_back(world.clock().now() - Instant{});
      permit->settle(outcome);
    }
  });
  world.run();
  return left;
}

const Outcome done{.kind = Outcome::Kind::succeeded, .input_tokens = 100};

}  // namespace

TEST_CASE("a day's quota begins anew at midnight in its zone, not a day after it was used") {
  Simulation world;
  const auto limiter = calendar_day(world.clock(), patient({.requests = 2, .zone = pacific}));
  CHECK(leave_at(world, limiter, 5, done) == std::vector<Duration>{0s, 0s, 8h, 8h, 32h});
}

TEST_CASE("the day on which clocks go forward is an hour shorter") {
  Simulation world;
  const auto begin = world.spawn([] { sleep_for(24h * 66 + 8h); });  // 2026-03-08, midnight there
  world.run();
  const auto limiter = calendar_day(world.clock(), patient({.requests = 1, .zone = pacific}));
  const auto left = leave_at(world, limiter, 2, done);
  CHECK(left[1] - left[0] == 23h);
}

TEST_CASE("tokens are charged as they were used, and what was not sent is given back") {
  Simulation world;
  const auto limiter = calendar_day(world.clock(), patient({.tokens = 300}));
  CHECK(leave_at(world, limiter, 2, {.kind = Outcome::Kind::not_sent}) ==
        std::vector<Duration>{0s, 0s});
  CHECK(leave_at(world, limiter, 1, {.kind = Outcome::Kind::succeeded, .input_tokens = 250}) ==
        std::vector<Duration>{0s});
  CHECK(leave_at(world, limiter, 1, done) == std::vector<Duration>{24h});
}

TEST_CASE(
    "a wait for midnight that is too long, and a call that no day has room for, are refused") {
  Simulation world;
  Limiter limiter = calendar_day(world.clock(), {.requests = 1, .tokens = 500});
  const auto task = world.spawn([&] {
    CHECK(limiter.acquire({.input_tokens = 501}, {}, world.clock()).error().code ==
          ErrorCode::too_large);
    auto first = limiter.acquire({}, {}, world.clock());
    CHECK(first.has_value());
    CHECK(limiter.acquire({}, {}, world.clock()).error().code == ErrorCode::queue_full);
  });
  world.run();
  CHECK(limiter.describe().find("calendar day in UTC, 1 requests, 500 tokens") !=
        std::string::npos);
}

TEST_CASE("under a quota by the minute both hold") {
  Simulation world;
  Limiter limiter = quota({.requests_per_minute = 60, .request_burst = 1s, .safety = 1.0}) &
                    calendar_day(world.clock(), patient({.requests = 3, .zone = "UTC"}));
  const auto left = leave_at(world, limiter, 4, done);
  CHECK(left[2] - left[0] >= 2s);
  CHECK(left[2] < 1min);
  CHECK(left[3] >= 24h);
}

TEST_CASE("a calendar day without a limit, with a negative one or in no zone is misuse") {
  Simulation world;
  CHECK_THROWS_AS(static_cast<void>(calendar_day(world.clock(), {})), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(calendar_day(world.clock(), {.requests = -1})),
                  std::invalid_argument);
  CHECK_THROWS_AS(
      static_cast<void>(calendar_day(world.clock(), {.requests = 1, .zone = "nowhere"})),
      std::invalid_argument);
}

}  // namespace moderato
