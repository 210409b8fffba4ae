#include <doctest/doctest.h>

#include <moderato/core/simulation.hpp>
#include <moderato/llm/limiter/backends/shadow.hpp>
#include <vector>

namespace moderato {
namespace {

using namespace std::chrono_literals;

constexpr Ask call{.input_tokens = 90, .output_tokens = 10};

/// 20 calls at once, and 5 more after 10 s; how long each waited.
std::vector<Duration> waits(Simulation& world, Limiter limiter) {
  std::vector<Duration> waited;
  const auto task = world.spawn([&] {
    const auto burst = [&](std::size_t calls) {
      std::vector<std::size_t> numbers(calls);
      world.parallel(numbers, {.max_in_flight = calls}, [&](std::size_t) {
        const Instant asked = world.clock().now();
        auto permit = limiter.acquire(call, {}, world.clock());
        REQUIRE(permit.has_value());
        waited.push_back(world.clock().now() - asked);
        permit->settle({.kind = Outcome::Kind::succeeded, .input_tokens = 90, .output_tokens = 10});
        return true;
      });
    };
    burst(20);
    sleep_for(10s);
    burst(5);
  });
  world.run();
  return waited;
}

QuotaOptions sixty_a_minute() {
  return {.requests_per_minute = 60, .tokens_per_minute = 100'000, .safety = 1.0};
}

}  // namespace

TEST_CASE("a shadow lets every call go at once and says how long the quota would have held it") {
  Simulation shadowed;
  std::vector<Duration> verdicts;
  const ShadowLimiter shadow =
      shadow_with_report(sixty_a_minute(), {.on_verdict = [&](const ShadowVerdict& verdict) {
                           CHECK(verdict.reason == "rate");
                           verdicts.push_back(verdict.wait);
                         }});
  for (const Duration wait : waits(shadowed, shadow.limiter)) CHECK(wait == Duration::zero());

  // The first burst alone: the quota itself makes each of these calls wait as long as was said.
  Simulation real;
  std::vector<Duration> held;
  for (const Duration wait : waits(real, quota(sixty_a_minute()))) {
    if (wait > Duration::zero()) held.push_back(wait);
  }
  REQUIRE(held.size() >= 19);
  REQUIRE(verdicts.size() >= 19);
  for (std::size_t i = 0; i < 19; ++i) {
    CHECK(std::chrono::abs(verdicts[i] - held[i]) < 5ms);
  }
  const ShadowReport report = shadow.report();
  CHECK(report.calls == 25);
  CHECK(report.would_wait == verdicts.size());
  CHECK(report.would_be_refused == 0);
  CHECK(report.longest_wait >= 18s);
  CHECK(shadow.limiter.describe().find("of 25 calls") != std::string::npos);
}

TEST_CASE("a call that never fits would have been refused, and goes") {
  Simulation world;
  ShadowLimiter shadow = shadow_with_report(sixty_a_minute());
  const auto task = world.spawn([&] {
    auto permit = shadow.limiter.acquire({.input_tokens = 1'000'000'000}, {}, world.clock());
    CHECK(permit.has_value());
  });
  world.run();
  CHECK(shadow.report().would_be_refused == 1);
}

TEST_CASE("a shadow lets retries go that the retry budget would not pay for") {
  Simulation world;
  ShadowLimiter shadow = shadow_with_report(sixty_a_minute());
  for (int i = 0; i < 50; ++i) CHECK(shadow.limiter.take_retry(world.clock().now()));
  CHECK(shadow.report().retries_beyond_budget > 0);
}

TEST_CASE("a shadow counts slots that would have been full") {
  Simulation world;
  ShadowLimiter shadow = shadow_with_report({.max_in_flight = 1});
  const auto task = world.spawn([&] {
    auto first = shadow.limiter.acquire(call, {}, world.clock());
    auto second = shadow.limiter.acquire(call, {}, world.clock());
    CHECK(second.has_value());
    second->settle({.kind = Outcome::Kind::succeeded});
    first->settle({.kind = Outcome::Kind::succeeded});
    auto third = shadow.limiter.acquire(call, {}, world.clock());
    CHECK(third.has_value());
  });
  world.run();
  CHECK(shadow.report().would_wait == 1);
}

}  // namespace moderato
