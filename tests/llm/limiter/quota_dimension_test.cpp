#include <moderato/llm/limiter/quota_dimension.hpp>

#include <doctest/doctest.h>

namespace moderato {
namespace {

using namespace std::chrono_literals;

constexpr Instant start = Instant{} + 1h;

QuotaHeader header(std::int64_t limit, std::int64_t remaining, Duration reset) {
  return {.dimension = "requests", .limit = limit, .remaining = remaining, .reset = reset};
}

QuotaDimension requests(std::int64_t limit, bool learnt) {
  return QuotaDimension({.name = "requests", .limit = limit, .burst = 1s, .learnt = learnt});
}

TEST_CASE("the period of a limit shows in its reset") {
  CHECK(period_of(header(5'000, 4'999, 12ms)) == 1min);
  CHECK(period_of(header(160'000, 159'976, 9ms)) == 1min);
  CHECK(period_of(header(14'400, 14'370, 179'560ms)) == 24h);
  CHECK(period_of(header(1'000, 900, 6min)) == 1h);
  CHECK_FALSE(period_of(header(100, 100, 0s)).has_value());
  CHECK_FALSE(period_of({.dimension = "requests", .limit = 100}).has_value());
}

TEST_CASE("a counter of fixed minutes is not mistaken for a limit by the hour") {
  CHECK(period_of(header(60, 59, 60s)) == 1min);  // the law would say an hour
  CHECK(period_of(header(60, 10, 30s)) == 1min);
  CHECK(period_of(header(60, 59, 3'000s)) == 1h);
}

TEST_CASE("dimensions are recognised by the words in their names") {
  CHECK(unit_of("requests") == QuotaUnit::requests);
  CHECK(unit_of("tokens_usage_based") == QuotaUnit::tokens);
  CHECK(unit_of("input-tokens") == QuotaUnit::input_tokens);
  CHECK(unit_of("output-tokens") == QuotaUnit::output_tokens);
  CHECK_FALSE(unit_of("images").has_value());
}

TEST_CASE("a stated limit is lowered by the provider and never raised above what was stated") {
  auto dimension = requests(100, false);
  dimension.adopt_limit(40);
  CHECK(dimension.limit() == 40);
  dimension.adopt_limit(5'000);
  CHECK(dimension.limit() == 100);
  dimension.adopt_limit(0);
  CHECK(dimension.limit() == 100);
  auto learnt = requests(100, true);
  learnt.adopt_limit(5'000);
  CHECK(learnt.limit() == 5'000);
}

TEST_CASE("a refused large call waits for the provider's bucket, not for our small burst") {
  QuotaDimension tokens(
      {.name = "tokens", .unit = QuotaUnit::tokens, .limit = 10'000, .burst = 3s});
  const Ask large{.input_tokens = 8'172};
  CHECK(tokens.wait(start, tokens.cost(large)) == 0s);
  tokens.lower_to(start, 10'000 - 8'782);
  CHECK(tokens.wait(start, tokens.cost(large)) == 41'724ms);
  CHECK(tokens.wait(start, tokens.cost({.input_tokens = 400})) == 0s);  // smaller calls may pass
}

TEST_CASE("a level is only ever lowered") {
  auto dimension = requests(100, false);
  dimension.lower_to(start, 0);
  dimension.lower_to(start, 80);
  CHECK(dimension.level(start) == 0);
}

TEST_CASE(
    "three headers that fit a full-minute bucket raise a learnt burst to 50 s, one that does not "
    "takes it back") {
  auto dimension = requests(600, true);
  CHECK(dimension.level(start) == 10);
  dimension.adopt(header(600, 580, 2s));
  dimension.adopt(header(600, 560, 4s));
  CHECK(dimension.level(start) == 10);
  dimension.adopt(header(600, 540, 6s));
  CHECK(dimension.level(start) == 500);
  dimension.adopt(header(600, 590, 40s));
  CHECK(dimension.level(start) == 10);

  auto stated = requests(600, false);
  for (int i = 0; i < 5; ++i) stated.adopt(header(600, 540, 6s));
  CHECK(stated.level(start) == 10);
}

TEST_CASE("a learnt limit turns out to be one of a day and is not doled out by the second") {
  auto dimension = requests(14'400, true);
  dimension.adopt(header(14'400, 14'370, 179'560ms));
  CHECK(dimension.period() == 24h);
  CHECK(dimension.describe() == "14400 requests/day");
  CHECK(dimension.level(start) == 14'400);
}

TEST_CASE("others show in what is left, and a bucket that was full in between is not others") {
  ForeignMeter meter;  // 1,000 units a second
  std::int64_t charged = 0;
  for (int i = 0; i < 6; ++i) {  // 6,000 are taken every 20 s: it is full for 14 s each time
    meter.observe(start + i * 20s, 54'000, charged, 60'000, 1min);
    charged += 6'000;
  }
  CHECK(meter.rate() == 0);
  for (int i = 0; i < 20; ++i) {  // 500 a second are ours, and the level stays
    charged += 1'000;
    meter.observe(start + 200s + i * 2s, 20'000, charged, 60'000, 1min);
  }
  CHECK(meter.rate() == doctest::Approx(500).epsilon(0.1));
}

}  // namespace
}  // namespace moderato
