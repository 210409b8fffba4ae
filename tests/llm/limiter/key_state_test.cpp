#include <moderato/llm/limiter/key_state.hpp>

#include <doctest/doctest.h>

namespace moderato {
namespace {

using namespace std::chrono_literals;
using Gate = KeyState::Gate;

constexpr Instant start = Instant{} + 1h;

TEST_CASE("a pause holds everybody until its end and then the key is open in a new epoch") {
  KeyState key(120s);
  const auto first = key.epoch();
  const auto change = key.told_to_wait(start, first, 7s, "slow down");
  REQUIRE(change.has_value());
  CHECK(change->state == "paused");
  CHECK(change->lasting == 7s);
  CHECK(change->why == "slow down");
  CHECK(key.gate(start + 6'999ms) == Gate::wait);
  CHECK(key.held_until(start + 1s) == start + 7s);
  CHECK(key.gate(start + 7s) == Gate::go);
  CHECK(key.epoch() > first);
  const auto open = key.succeeded(start + 8s, key.epoch());
  REQUIRE(open.has_value());
  CHECK(open->state == "open");
  CHECK_FALSE(key.succeeded(start + 9s, key.epoch()).has_value());
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
  CHECK(key.gate(start + 12s) == Gate::go);
  key.told_to_wait(start + 13s, old, 50s, "");  // and it starts no new one
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
    CHECK(key.gate(now) == Gate::go);
  }
  key.succeeded(now, key.epoch());
  CHECK(key.told_to_wait(now, key.epoch(), std::nullopt, "")->lasting == 1s);
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

  CHECK(key.gate(start + 10min) == Gate::trial);
  key.begin_trial(start + 10min);
  CHECK(key.gate(start + 10min) == Gate::refuse);
  CHECK_FALSE(key.succeeded(start + 11min, old).has_value());  // an old answer is no trial
  CHECK(key.gate(start + 11min) == Gate::refuse);
  key.out_of_quota(start + 11min, key.epoch(), "insufficient_quota");
  CHECK(key.gate(start + 20min) == Gate::refuse);

  CHECK(key.gate(start + 21min) == Gate::trial);
  key.begin_trial(start + 21min);
  CHECK(key.succeeded(start + 22min, key.epoch())->state == "open");
  CHECK(key.gate(start + 22min) == Gate::go);
}

TEST_CASE("a trial that was never sent leaves the next call its chance") {
  KeyState key(120s);
  key.out_of_quota(start, key.epoch(), "");
  CHECK(key.gate(start + 10min) == Gate::trial);
  key.begin_trial(start + 10min);
  key.not_sent(start + 11min, key.epoch());
  CHECK(key.gate(start + 11min) == Gate::trial);
}

TEST_CASE("a hint beyond max_hold closes the key until it is over") {
  KeyState key(120s);
  const auto change = key.told_to_wait(start, key.epoch(), 114h + 18min, "try again in 114h18m0s");
  CHECK(change->state == "closed");
  CHECK(key.gate(start + 114h) == Gate::refuse);
  CHECK(key.refusal(start).code == ErrorCode::rate_limited);
  CHECK(key.refusal(start).retry_after == 114h + 18min);
  CHECK(key.gate(start + 114h + 18min) == Gate::go);
}

TEST_CASE("a correction of the levels holds nobody and shows for as long as it lasts") {
  KeyState key(120s);
  const auto epoch = key.epoch();
  CHECK(key.corrected(start, 424ms, "")->state == "corrected");
  CHECK(key.gate(start) == Gate::go);
  CHECK(std::string(key.name(start)) == "corrected");
  CHECK(std::string(key.name(start + 1s)) == "open");
  CHECK(key.epoch() == epoch);
  key.told_to_wait(start, epoch, 5s, "");
  CHECK_FALSE(key.corrected(start + 1s, 1s, "").has_value());  // it does not end a pause
  CHECK(key.gate(start + 1s) == Gate::wait);
}

}  // namespace
}  // namespace moderato
