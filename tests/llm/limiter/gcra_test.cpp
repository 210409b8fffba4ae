#include <moderato/llm/limiter/gcra.hpp>

#include <doctest/doctest.h>

#include <deque>
#include <random>
#include <vector>

namespace moderato {
namespace {

using namespace std::chrono_literals;

constexpr Instant start = Instant{} + 1h;

/// The wait that the law gives for a full-minute bucket: (used + requested − limit) · 60 s / limit.
Duration wait_by_law(std::int64_t limit, std::int64_t used, std::int64_t requested) {
  Gcra bucket(limit, 1min, 1min);
  bucket.set_level(start, limit - used);
  return bucket.wait(start, bucket.cost(requested));
}

bool within(Duration actual, Duration stated, Duration by) {
  return actual >= stated - by && actual <= stated + by;
}

TEST_CASE("the wait after a refusal is the one that real providers stated") {
  struct Row {
    std::int64_t limit, used, requested;
    Duration stated;
  };
  const Row rows[] = {
      {200'000, 193'762, 7'653, 424ms},
      {10'000, 8'782, 8'172, 41'724ms},
      {400'000, 248'785, 312'683, 24'220ms},
      {500, 500, 1, 120ms},
      {3, 3, 1, 20s},
      {15'000, 11'972, 4'351, 5'289ms},
      {5'000, 5'747, 4'251, 59'977ms},
  };
  for (const auto& row : rows) {
    CAPTURE(row.limit);
    CHECK(within(wait_by_law(row.limit, row.used, row.requested), row.stated, 3ms));
  }
}

TEST_CASE("the time to be full again is the reset that real headers stated") {
  CHECK(within(Gcra(5'000, 1min, 1min).cost(5'000 - 4'999), 12ms, 1ms));
  CHECK(within(Gcra(160'000, 1min, 1min).cost(160'000 - 159'976), 9ms, 1ms));
  CHECK(within(Gcra(14'400, 24h, 24h).cost(14'400 - 14'370), 180s, 1ms));
}

TEST_CASE("a cost is rounded once, not once a unit") {
  // One token takes 7 ns and a third of one: 7 ns a unit would lose 300 ms in a million tokens.
  const Gcra bucket(8'181'818'182, 1min, 1min);
  CHECK(bucket.cost(1) == 7ns);
  CHECK(bucket.cost(1'000'000'000) == Duration(7'333'333'333));
  CHECK(Gcra(3, 1min, 0s).cost(1) == 20s);
  CHECK(Gcra(7, 1min, 0s).cost(7) == 1min);
  CHECK(Gcra(200'000, 1min, 0s).cost(-7'653) == -Gcra(200'000, 1min, 0s).cost(7'653));
}

TEST_CASE("a cost equals the rounded exact quotient for random limits and sizes") {
  std::mt19937_64 random(11);
  for (int i = 0; i < 20'000; ++i) {
    const auto limit = static_cast<std::int64_t>(random() >> (20 + random() % 43)) + 1;
    const auto units = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(limit)) + 1;
    const Duration period = i % 2 == 0 ? Duration(1min) : Duration(24h);
    const auto exact = static_cast<long double>(units) * static_cast<long double>(period.count()) /
                       static_cast<long double>(limit);
    const auto actual = static_cast<long double>(Gcra(limit, period, period).cost(units).count());
    CAPTURE(limit);
    CAPTURE(units);
    CHECK(std::abs(static_cast<double>(actual - exact)) <= 0.51);
  }
}

TEST_CASE("an absurd number of units saturates instead of overflowing") {
  Gcra bucket(1, 24h, 24h);
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  bucket.take(start, bucket.cost(most));
  bucket.take(start, bucket.cost(most));
  CHECK(bucket.wait(start, bucket.cost(most), bucket.cost(most)) > 24h * 365 * 50);
  CHECK(bucket.level(start) < -1'000);
}

TEST_CASE("a burst goes at once and then the rate") {
  Gcra bucket(60, 1min, 3s);  // one a second, three at once
  const Duration one = bucket.cost(1);
  for (int i = 0; i < 3; ++i) {
    CHECK(bucket.wait(start, one) == 0s);
    bucket.take(start, one);
  }
  CHECK(bucket.wait(start, one) == 1s);
  CHECK(bucket.wait(start + 400ms, one) == 600ms);
  CHECK(bucket.wait(start + 1s, one) == 0s);
}

TEST_CASE("a call larger than the burst goes from a full bucket only and leaves a debt") {
  Gcra bucket(60'000, 1min, 3s);  // 1,000 a second, 3,000 at once
  bucket.take(start, bucket.cost(1));
  CHECK(bucket.wait(start, bucket.cost(10'000)) == 1ms);
  const Instant full = start + 1ms;
  bucket.take(full, bucket.cost(10'000));
  CHECK(bucket.level(full) == -7'000);
  CHECK(bucket.wait(full, bucket.cost(1)) == 7'001ms);
  CHECK_FALSE(bucket.never_fits(60'000));
  CHECK(bucket.never_fits(60'001));
}

TEST_CASE("calls ahead lengthen the wait by exactly what they cost") {
  Gcra bucket(60, 1min, 1s);
  bucket.take(start, bucket.cost(1));
  CHECK(bucket.wait(start, bucket.cost(1)) == 1s);
  CHECK(bucket.wait(start, bucket.cost(1), bucket.cost(5)) == 6s);
  CHECK(bucket.wait(start, bucket.cost(10), bucket.cost(5)) == 6s);  // oversize: once full again
}

TEST_CASE("what is given back can be used at once") {
  Gcra bucket(60'000, 1min, 3s);
  bucket.take(start, bucket.cost(3'000));
  CHECK(bucket.wait(start + 1s, bucket.cost(2'500)) == 1'500ms);
  bucket.give_back(bucket.cost(2'000), start, start + 1s);
  CHECK(bucket.wait(start + 1s, bucket.cost(2'500)) == 0s);
}

TEST_CASE("giving back what has been worked off long ago makes no new room") {
  Gcra bucket(60, 1min, 100s);
  bucket.take(start, bucket.cost(100));
  bucket.take(start + 150s, bucket.cost(50));  // found full
  bucket.give_back(bucket.cost(90), start, start + 160s);
  CHECK(bucket.level(start + 160s) == 60);
}

TEST_CASE("a refund does not take away what a call that leaves later will find owed") {
  Gcra bucket(60, 1min, 10s);
  bucket.take(start, bucket.cost(8));
  bucket.take(start + 500ms, bucket.cost(3), 500ms);
  bucket.give_back(bucket.cost(8), start, start + 200ms);
  CHECK(bucket.level(start + 500ms) == 7);  // as if the call of 3 had come alone
  bucket.take(start + 600ms, bucket.cost(1));
  bucket.give_back(bucket.cost(1), start + 600ms, start + 600ms);
  CHECK(bucket.level(start + 600ms) == 7);
}

TEST_CASE("giving back never takes, also where a correction has raised the level meanwhile") {
  Gcra bucket(60, 1min, 10s);
  bucket.take(start, bucket.cost(8));
  bucket.take(start + 500ms, bucket.cost(1), 500ms);
  bucket.set_level(start + 100ms, 9);
  const std::int64_t level = bucket.level(start + 200ms);
  bucket.give_back(bucket.cost(4), start, start + 200ms);
  CHECK(bucket.level(start + 200ms) >= level);
}

TEST_CASE("the level counts down below zero and back up") {
  Gcra bucket(6'000, 1min, 10s);  // 100 a second
  CHECK(bucket.level(start) == 1'000);
  bucket.set_level(start, -500);
  CHECK(bucket.level(start) == -500);
  CHECK(bucket.level(start + 7s) == 200);
  CHECK(bucket.level(start + 1h) == 1'000);
  bucket.set_level(start, 5'000);  // more than it holds is full
  CHECK(bucket.level(start) == 1'000);
}

/// Something charged, or (negative) given back, at an instant.
struct Charge {
  Instant at;
  std::int64_t units;
};

struct OpenCall {
  Instant at;
  std::int64_t units;
};

double worst_excess(const std::vector<Charge>& charges, std::int64_t limit, Duration period) {
  const double rate = static_cast<double>(limit) / static_cast<double>(period.count());
  double worst = -1e18;
  for (std::size_t first = 0; first < charges.size(); ++first) {
    double sum = 0;
    for (std::size_t last = first; last < charges.size(); ++last) {
      sum += static_cast<double>(charges[last].units);
      const Duration span = charges[last].at - charges[first].at;
      worst = std::max(worst, sum - rate * static_cast<double>(span.count()));
    }
  }
  return worst;
}

TEST_CASE("no history lets the charges of any interval exceed rate · interval + burst") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const auto below = [&](std::int64_t bound) {
      return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(bound));
    };
    const std::int64_t limit = 1 + below(200'000);
    const Duration burst = std::chrono::milliseconds(below(20'000));
    Gcra bucket(limit, 1min, burst);
    const auto burst_units =
        static_cast<double>(limit) * std::chrono::duration<double>(burst).count() / 60;
    std::vector<Charge> charges;
    std::deque<OpenCall> open;
    std::int64_t largest = 0;
    Instant now = start;
    for (int step = 0; step < 400; ++step) {
      now += std::chrono::microseconds(below(step % 50 == 0 ? 90'000'000 : 400'000));
      const std::int64_t units = 1 + below(std::max<std::int64_t>(1, limit / 20));
      if (bucket.wait(now, bucket.cost(units)) == 0s) {
        bucket.take(now, bucket.cost(units));
        open.push_back({now, units});
        charges.push_back({now, units});
        largest = std::max(largest, units);
      }
      if (!open.empty() && below(3) == 0) {  // settled with less than was asked
        const OpenCall call = open.front();
        open.pop_front();
        const std::int64_t back = below(call.units + 1);
        bucket.give_back(bucket.cost(back), call.at, now);
        charges.push_back({now, -back});
      }
    }
    REQUIRE(charges.size() > 20);
    const double bound = std::max(burst_units, static_cast<double>(largest)) + 1;
    CHECK(worst_excess(charges, limit, 1min) <= bound);
  }
}

}  // namespace
}  // namespace moderato
