#include <moderato/llm/limiter/retry_budget.hpp>

#include <doctest/doctest.h>

#include <moderato/core/clock.hpp>
#include <moderato/llm/limiter/limiter.hpp>

namespace moderato {
namespace {

using namespace std::chrono_literals;

constexpr Instant start = Instant{} + 1h;

int retries_at(RetryBudget& budget, Instant now) {
  int count = 0;
  while (count < 1'000 && budget.take(now)) ++count;
  return count;
}

TEST_CASE("ten first attempts earn one retry") {
  RetryBudget budget(0);
  CHECK(retries_at(budget, start) == 2);
  for (int i = 0; i < 9; ++i) budget.count_first_attempt();
  CHECK_FALSE(budget.take(start + 1s));
  budget.count_first_attempt();
  CHECK(budget.take(start + 1s));
  CHECK_FALSE(budget.take(start + 1s));
}

TEST_CASE("the budget holds two retries, or a tenth of ten seconds of quota") {
  RetryBudget small(0.5);
  RetryBudget large(50);
  for (int i = 0; i < 10'000; ++i) {
    small.count_first_attempt();
    large.count_first_attempt();
  }
  CHECK(retries_at(small, start) == 2);
  CHECK(retries_at(large, start) == 50);
}

TEST_CASE("one retry every ten seconds is always there") {
  RetryBudget budget(0);
  CHECK(retries_at(budget, start) == 2);
  CHECK(retries_at(budget, start + 9'999ms) == 0);
  CHECK(retries_at(budget, start + 10s) == 1);
  CHECK(retries_at(budget, start + 19s) == 0);
  CHECK(retries_at(budget, start + 20s) == 1);
}

TEST_CASE("when every call fails the attempts stay near 1.1 times the calls") {
  RetryBudget budget(10);
  int retries = 0;
  for (int call = 0; call < 6'000; ++call) {  // ten a second, each wants three retries
    budget.count_first_attempt();
    for (int i = 0; i < 3; ++i) retries += budget.take(start + call * 100ms) ? 1 : 0;
  }
  CHECK(retries <= 6'000 / 10 + 10 + 60);
  CHECK(retries >= 6'000 / 10);
}

TEST_CASE("the retry budget is one for all users of a limiter") {
  Limiter limiter = quota({.max_in_flight = 1});
  Limiter copy = limiter;
  CHECK(limiter.take_retry(Instant{} + 1h));
  CHECK(copy.take_retry(Instant{} + 1h));
  CHECK_FALSE(limiter.take_retry(Instant{} + 1h));
  const VirtualClock clock;
  for (int i = 0; i < 10; ++i) CHECK(copy.acquire({}, {}, clock).has_value());
  CHECK(limiter.snapshot({}).retries_left == doctest::Approx(1.0));
  CHECK(limiter.take_retry(Instant{} + 1h));
}

}  // namespace
}  // namespace moderato
