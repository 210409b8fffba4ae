#include <moderato/llm/limiter/key_state.hpp>

#include <doctest/doctest.h>

namespace moderato {
namespace {

using namespace std::chrono_literals;
using Gate = KeyState::Gate;

constexpr Instant start = Instant{} + 1h;

/// The call that may find out goes.
void probe(KeyState& key, Instant now) {
  REQUIRE(key.gate(now) == Gate::probe);
  key.begin_probe(now);
}

TEST_CASE("a pause holds everybody until its end and then one call finds out for all") {
  KeyState key(120s);
  const auto first = key.epoch();
  const auto change = key.told_to_wait(start, first, 7s, "slow");
  REQUIRE(change.has_value());
  CHECK(change->state == "paused");
  CHECK(change->lasting == 7s);
  CHECK(change->why == "slow");
  CHECK(key.gate(start + 6'999ms) == Gate::wait);
  CHECK(key.held_until(start + 1s) == start + 7s);
  probe(key, start + 7s);
  CHECK(key.epoch() > first);
  CHECK(std::string(key.name(start + 7s)) == "probing");
  CHECK(key.gate(start + 8s) == Gate::wait);
  const auto open = key.succeeded(start + 8s, key.epoch());
  REQUIRE(open.has_value());
  CHECK(open->state == "ramp");
  CHECK(key.gate(start + 8s) == Gate::go);
  CHECK_FALSE(key.succeeded(start + 9s, key.epoch()).has_value());
}

TEST_CASE("where refusals come fast, a probe that was not refused has been let in") {
  KeyState key(120s);
  key.told_to_wait(start, key.epoch(), 1s, "", 50ms);
  probe(key, start + 1s);
  CHECK(key.gate(start + 1s + 199ms) == Gate::wait);
  CHECK(key.held_until(start + 1s) == start + 1s + 200ms);
  CHECK(key.gate(start + 1s + 200ms) == Gate::go);
  // and its answer counts when it comes at last
  const auto told = key.succeeded(start + 9s, key.epoch());
  REQUIRE(told.has_value());
  CHECK(told->state == "open");
}

TEST_CASE("a probe that fails after it was believed closes the key again") {
  KeyState key(120s);
  key.overloaded(start, key.epoch(), std::nullopt, "503", 100ms);
  probe(key, start + 500ms);
  CHECK(key.gate(start + 900ms) == Gate::go);
  const auto again = key.overloaded(start + 5s, key.epoch(), std::nullopt, "503", 4s);
  REQUIRE(again.has_value());
  CHECK(again->state == "overload");
  CHECK(again->lasting == 1s);
}

TEST_CASE("a late answer can lengthen a pause and neither shorten nor reopen it") {
  KeyState key(120s);
  const auto old = key.epoch();
  key.told_to_wait(start, old, 10s, "");
  CHECK_FALSE(key.told_to_wait(start + 1s, old, 2s, "").has_value());
  CHECK(key.held_until(start + 1s) == start + 10s);
  CHECK_FALSE(key.succeeded(start + 2s, old).has_value());
  CHECK(key.gate(start + 2s) == Gate::wait);
  key.told_to_wait(start + 3s, old, 9s, "");
  CHECK(key.held_until(start + 3s) == start + 12s);
  probe(key, start + 12s);
  key.told_to_wait(start + 13s, old, 50s, "");  // and it starts no new one
  CHECK_FALSE(key.overloaded(start + 13s, old, std::nullopt, "").has_value());
  key.succeeded(start + 13s, key.epoch());
  CHECK(key.gate(start + 13s) == Gate::go);
}

TEST_CASE("refusals without a hint pause for longer each time, once for a burst of them") {
  KeyState key(120s);
  Instant now = start;
  for (const Duration expected : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s}) {
    const auto epoch = key.epoch();
    CHECK(key.told_to_wait(now, epoch, std::nullopt, "")->lasting == expected);
    for (int i = 0; i < 5; ++i) key.told_to_wait(now, epoch, std::nullopt, "");
    CHECK(key.held_until(now) == now + expected);
    now += expected;
    probe(key, now);
  }
  key.succeeded(now, key.epoch());
  CHECK(key.told_to_wait(now, key.epoch(), std::nullopt, "")->lasting == 1s);
}

TEST_CASE("an outage of a minute costs some twenty probes, whoever waits") {
  KeyState key(120s);
  int attempts = 1;
  Instant now = start;
  key.overloaded(now, key.epoch(), std::nullopt, "503", 30ms);
  while (now < start + 60s) {
    now = key.held_until(now);
    probe(key, now);
    ++attempts;
    now += 30ms;
    const auto change = key.overloaded(now, key.epoch(), std::nullopt, "503", 30ms);
    REQUIRE(change.has_value());
    CHECK(change->lasting <= 3600ms);
  }
  CHECK(attempts <= 20);
}

TEST_CASE("three failures in a row are an overload, a success between them is not") {
  KeyState key(120s);
  CHECK_FALSE(key.failed(start, key.epoch(), "500").has_value());
  CHECK_FALSE(key.failed(start, key.epoch(), "500").has_value());
  key.succeeded(start, key.epoch());
  CHECK_FALSE(key.failed(start, key.epoch(), "500").has_value());
  CHECK_FALSE(key.failed(start, key.epoch(), "500").has_value());
  const auto change = key.failed(start, key.epoch(), "500");
  REQUIRE(change.has_value());
  CHECK(change->state == "overload");
  CHECK(key.gate(start + 100ms) == Gate::wait);
}

TEST_CASE("after a probe the rate is half and a quarter more each second") {
  KeyState key(120s);
  CHECK(key.share(start) == 1000);
  CHECK_FALSE(key.take_reopened());
  key.overloaded(start, key.epoch(), std::nullopt, "503");
  probe(key, start + 500ms);
  key.succeeded(start + 1s, key.epoch());
  CHECK(key.take_reopened());
  CHECK_FALSE(key.take_reopened());
  CHECK(key.share(start + 1s) == 500);
  CHECK(key.share(start + 2s) == 750);
  CHECK(key.share(start + 3s) == 1000);
  CHECK(std::string(key.name(start + 2s)) == "ramp");
  CHECK(std::string(key.name(start + 3s)) == "open");
}

TEST_CASE("slow down halves the rate once for a burst and gives it back slowly") {
  KeyState key(120s);
  const auto epoch = key.epoch();
  const auto change = key.slow_down(start, epoch, true, "slow_down");
  REQUIRE(change.has_value());
  CHECK(change->state == "ramp");
  CHECK_FALSE(key.slow_down(start, epoch, true, "slow_down").has_value());
  CHECK(key.gate(start) == Gate::go);
  CHECK(key.share(start) == 500);
  CHECK(key.share(start + 15min) == doctest::Approx(750).epsilon(0.01));
  key.slow_down(start + 15min, key.epoch(), false, "slow_down");
  CHECK(key.share(start + 15min) == doctest::Approx(375).epsilon(0.01));
  CHECK(key.share(start + 15min + 2s) == doctest::Approx(575).epsilon(0.01));
}

TEST_CASE("a probe whose process died is replaced after its lease") {
  KeyState key(120s);
  key.told_to_wait(start, key.epoch(), 1s, "");
  probe(key, start + 1s);
  CHECK(key.gate(start + 30s) == Gate::wait);
  CHECK(key.gate(start + 31s) == Gate::probe);
}

TEST_CASE("a probe that was never sent leaves the next call its chance") {
  KeyState key(120s);
  key.told_to_wait(start, key.epoch(), 1s, "");
  probe(key, start + 1s);
  key.not_sent(start + 2s, key.epoch());
  CHECK(key.gate(start + 2s) == Gate::probe);
}

TEST_CASE("a billing refusal closes the key and one call in ten minutes may try") {
  KeyState key(120s);
  const auto old = key.epoch();
  const auto change = key.out_of_quota(start, old, "insufficient_quota");
  REQUIRE(change.has_value());
  CHECK(change->state == "closed");
  CHECK(change->lasting == 10min);
  CHECK(key.gate(start + 1min) == Gate::refuse);
  CHECK(key.refusal(start + 1min).code == ErrorCode::quota_exhausted);
  CHECK(key.refusal(start + 1min).retry_after == 9min);

  probe(key, start + 10min);
  CHECK(key.gate(start + 10min) == Gate::refuse);
  CHECK_FALSE(key.succeeded(start + 11min, old).has_value());  // an old answer is no trial
  CHECK(key.gate(start + 11min) == Gate::refuse);
  key.out_of_quota(start + 11min, key.epoch(), "insufficient_quota");
  CHECK(key.gate(start + 20min) == Gate::refuse);

  probe(key, start + 21min);
  const auto open = key.succeeded(start + 21min, key.epoch());
  REQUIRE(open.has_value());
  CHECK(key.gate(start + 21min) == Gate::go);
}

TEST_CASE("a trial that was never sent leaves the next call its chance") {
  KeyState key(120s);
  key.out_of_quota(start, key.epoch(), "");
  probe(key, start + 10min);
  key.not_sent(start + 11min, key.epoch());
  CHECK(key.gate(start + 11min) == Gate::probe);
}

TEST_CASE("a hint beyond max_hold closes the key until it is over") {
  KeyState key(120s);
  const auto change = key.told_to_wait(start, key.epoch(), 114h, "");
  REQUIRE(change.has_value());
  CHECK(change->state == "closed");
  CHECK(key.gate(start + 113h) == Gate::refuse);
  CHECK(key.refusal(start + 113h).code == ErrorCode::rate_limited);
  CHECK(key.gate(start + 114h) == Gate::go);
}

TEST_CASE("a correction of the levels holds nobody and shows for as long as it lasts") {
  KeyState key(120s);
  const auto epoch = key.epoch();
  const auto change = key.corrected(start, epoch, 424ms, "");
  REQUIRE(change.has_value());
  CHECK(change->state == "corrected");
  CHECK(key.gate(start) == Gate::go);
  CHECK(key.epoch() == epoch);
  CHECK(std::string(key.name(start + 1s)) == "open");
  key.told_to_wait(start, epoch, 10s, "");
  CHECK_FALSE(key.corrected(start + 1s, key.epoch(), 1s, "").has_value());
  CHECK(key.gate(start + 1s) == Gate::wait);
}

}  // namespace
}  // namespace moderato
