#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <moderato/core/clock.hpp>
#include <moderato/core/wait.hpp>
#include <moderato/llm/limiter/backends/redis_backend.hpp>
#include <moderato/llm/limiter/quota_rules.hpp>
#include <stdexcept>
#include <string>
#include <support/redis_server.hpp>
#include <variant>
#include <vector>

#include "random_history.hpp"

namespace moderato {
namespace {

using namespace std::chrono_literals;
using test::RedisServer;

const Outcome done{.kind = Outcome::Kind::succeeded};

std::unique_ptr<RedisBackend> backend(const RedisServer& server, const QuotaOptions& quota,
                                      RedisOptions redis = {}, bool callers_time = false) {
  redis.url = server.url();
  return std::make_unique<RedisBackend>(RedisBackend::Options{
      .redis = std::move(redis), .rules = rules_of(quota), .callers_time = callers_time});
}

int take_all(LimiterBackend& from, Instant now, int most = 1000) {
  int count = 0;
  while (count < most && std::holds_alternative<Granted>(from.try_acquire(now, {}, {}, nullptr))) {
    ++count;
  }
  return count;
}

Instant now() {
  return SteadyClock().now();
}

/// Waits until `f()`, for at most ten seconds.
template <class F>
bool until(F f) {
  for (int i = 0; i < 500; ++i) {
    if (f()) return true;
    sleep_for(20ms);
  }
  return false;
}

QuotaOptions small() {
  QuotaOptions options;
  options.requests_per_minute = 60;
  options.request_burst = 10s;
  options.safety = 1.0;
  return options;
}

TEST_CASE("redis keeps every promise on random histories") {
  const RedisServer server;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    CHECK(test::RandomHistory(seed).run([&](const QuotaOptions& options, std::size_t members) {
      test::Fleet fleet;
      for (std::size_t i = 0; i < members; ++i) {
        fleet.push_back(backend(
            server, options, {.name = std::to_string(seed), .lease = std::chrono::hours(3)}, true));
      }
      return fleet;
    }) == "");
  }
}

TEST_CASE("what one process takes from Redis the other does not get, and levels begin with 1 s") {
  const RedisServer server;
  const Instant at{1h};
  const auto a = backend(server, small(), {}, true);
  const auto b = backend(server, small(), {}, true);
  CHECK(take_all(*a, at) == 1);
  CHECK(take_all(*b, at) == 0);
  const auto seen = a->look(at);
  REQUIRE(seen);
  CHECK(seen->granted == 1);
  CHECK(seen->owners == 2);
  CHECK(seen->in_flight == 1);
}

TEST_CASE("a settle gives back in Redis, and a permit ends once") {
  const RedisServer server;
  QuotaOptions quota = small();
  quota.max_in_flight = 1;
  const auto a = backend(server, quota, {}, true);
  const Instant at{1h};
  auto first = a->try_acquire(at, {}, {}, nullptr);
  REQUIRE(std::holds_alternative<Granted>(first));
  auto full = a->try_acquire(at, {}, {}, nullptr);
  REQUIRE(std::holds_alternative<MustWait>(full));
  CHECK(std::get<MustWait>(full).until == Instant::max());
  a->settle(at, std::get<Granted>(first), {}, {.kind = Outcome::Kind::not_sent});
  a->settle(at, std::get<Granted>(first), {}, {.kind = Outcome::Kind::not_sent});
  CHECK(a->look(at)->in_flight == 0);
  CHECK(a->look(at)->requests_left == 1);
}

TEST_CASE("a pause that one process is told holds the others, and one probe ends it") {
  const RedisServer server;
  QuotaOptions quota = small();
  quota.requests_per_minute = 6000;
  const auto a = backend(server, quota, {}, true);
  const auto b = backend(server, quota, {}, true);
  Instant at{1h};
  auto granted = std::get<Granted>(a->try_acquire(at, {}, {}, nullptr));
  Outcome refused{.kind = Outcome::Kind::rejected, .error = ErrorCode::rate_limited};
  refused.signal.retry_after = 3s;
  const auto change = a->settle(at, granted, {}, refused);
  REQUIRE(change);
  CHECK(change->state == std::string("paused"));
  (void)a->look(at);  // the settle has arrived
  auto held = b->try_acquire(at + 1s, {}, {}, nullptr);
  REQUIRE(std::holds_alternative<MustWait>(held));
  CHECK(std::get<MustWait>(held).until == at + 3s);
  CHECK(std::get<MustWait>(held).reason == std::string("paused"));
  at += 3s;
  auto probe = b->try_acquire(at, {}, {}, nullptr);
  REQUIRE(std::holds_alternative<Granted>(probe));
  (void)b->look(at);
  CHECK(std::holds_alternative<MustWait>(a->try_acquire(at, {}, {}, nullptr)));
  b->settle(at + 10ms, std::get<Granted>(probe), {}, done);
  (void)b->look(at + 10ms);
  (void)a->try_acquire(at + 1s, {}, {}, nullptr);  // paced from here on
  CHECK(std::holds_alternative<Granted>(a->try_acquire(at + 2s, {}, {}, nullptr)));
}

TEST_CASE("a settle in one process calls the limiter in another that waits for a slot") {
  const RedisServer server;
  QuotaOptions quota = small();
  quota.max_in_flight = 1;
  quota.requests_per_minute = 6000;
  const auto a = backend(server, quota);
  const auto b = backend(server, quota);
  std::atomic<int> called{0};
  const auto listening = b->on_room([&] { ++called; });
  auto granted = std::get<Granted>(a->try_acquire(now(), {}, {}, nullptr));
  CHECK(std::holds_alternative<MustWait>(b->try_acquire(now(), {}, {.id = 1}, nullptr)));
  CHECK(called == 0);
  a->settle(now(), granted, {}, done);
  CHECK(until([&] { return called > 0; }));
}

TEST_CASE("flushed scripts are sent again, and nothing else changes") {
  const RedisServer server;
  const auto a = backend(server, small(), {}, true);
  CHECK(take_all(*a, Instant{1h}) == 1);
  CHECK(server.command("SCRIPT FLUSH") == "+OK\r");
  CHECK(take_all(*a, Instant{1h}) == 0);
  CHECK(a->look(Instant{1h})->granted == 1);
}

TEST_CASE("keys that hold something else are an error that says so, and are left alone") {
  const RedisServer server;
  const auto a = backend(server, small(), {}, true);
  for (const char* rubbish :
       {"SET {moderato:quota}:state rubbish", "SADD {moderato:quota}:state x"}) {
    server.command("DEL {moderato:quota}:state");
    server.command(rubbish);
    const auto answer = a->try_acquire(Instant{1h}, {}, {}, nullptr);
    REQUIRE(std::holds_alternative<Refused>(answer));
    const Error& error = std::get<Refused>(answer).error;
    CHECK(error.code == ErrorCode::configuration);
    CHECK(error.message.find("hold something else") != std::string::npos);
  }
}

TEST_CASE("a full memory is an outage, and nothing is granted twice") {
  const RedisServer server;
  const auto a = backend(server, small(), {.outage = RedisOutage::fail_closed}, true);
  server.command("CONFIG SET maxmemory 1");
  const auto answer = a->try_acquire(Instant{1h}, {}, {}, nullptr);
  REQUIRE(std::holds_alternative<Refused>(answer));
  CHECK(std::get<Refused>(answer).error.message.find("OOM") != std::string::npos);
  server.command("CONFIG SET maxmemory 0");
  CHECK(take_all(*a, Instant{1h}) == 1);
}

TEST_CASE("what a process spent while Redis was away is charged when it is back") {
  RedisServer server;
  QuotaOptions quota = small();
  quota.requests_per_minute = 6000;
  const auto a = backend(server, quota, {}, true);
  const auto b = backend(server, quota, {}, true);
  const Instant at{1h};
  CHECK(take_all(*a, at, 1) == 1);
  CHECK(take_all(*b, at, 1) == 1);
  server.kill();
  CHECK(until([&] { return a->snapshot(at).state == "unreachable"; }));
  CHECK(take_all(*a, at) == 0);
  const int spent = take_all(*a, at + 1s);
  CHECK(spent >= 40);  // nine tenths of half of 100 a second
  server.start();      // empty: it begins with a second of quota
  int after = 0;
  CHECK(until([&] {
    after += take_all(*a, at + 1s);
    return a->look(at + 1s).has_value();
  }));
  after += take_all(*a, at + 1s) + take_all(*b, at + 1s);
  CHECK(spent + after <= 101);
  CHECK(spent + after >= 90);  // and what is left can be used
}

TEST_CASE("what flowed off while Redis was away is not charged when it is back") {
  RedisServer server;
  QuotaOptions quota = small();
  quota.requests_per_minute = 6000;
  const auto a = backend(server, quota, {}, true);
  const Instant at{1h};
  CHECK(take_all(*a, at, 1) == 1);
  server.kill();
  CHECK(until([&] { return a->snapshot(at).state == "unreachable"; }));
  int spent = 0;
  for (int second = 0; second <= 60; ++second) spent += take_all(*a, at + second * 1s);
  CHECK(spent >= 5000);
  server.start();  // empty: it begins with a second of quota
  CHECK(until([&] { return a->look(at + 61s).has_value() || take_all(*a, at + 61s, 1) == 1; }));
  CHECK(take_all(*a, at + 63s) >= 150);
}

TEST_CASE("without Redis a process goes on with nine tenths of its share, and not for long") {
  RedisServer server;
  QuotaOptions quota = small();
  quota.requests_per_minute = 6000;
  const auto a = backend(server, quota, {}, true);
  const auto b = backend(server, quota, {}, true);
  const Instant at{1h};
  CHECK(take_all(*a, at, 5) == 5);
  server.kill();
  CHECK(until([&] { return a->snapshot(at).state == "unreachable"; }));
  CHECK(take_all(*a, at) == 0);  // from an empty bucket
  const int first = take_all(*a, at + 1s);
  CHECK(first >= 89);
  CHECK(first + take_all(*a, at + 2s) <= 180);
  const auto later = a->try_acquire(at + 6min, {}, {}, nullptr);
  REQUIRE(std::holds_alternative<Refused>(later));
  CHECK(std::get<Refused>(later).error.code == ErrorCode::storage);
}

TEST_CASE("a policy may refuse at once, or let everything go") {
  RedisServer server;
  const auto closed = backend(server, small(), {.outage = RedisOutage::fail_closed});
  const auto open = backend(server, small(), {.outage = RedisOutage::fail_open});
  server.kill();
  CHECK(until([&] {
    return std::holds_alternative<Refused>(closed->try_acquire(now(), {}, {}, nullptr));
  }));
  CHECK(until([&] { return take_all(*open, now(), 50) == 50; }));
}

TEST_CASE(
    "a Redis that is restarted empty begins with a second of quota, and slots are counted anew") {
  RedisServer server;
  QuotaOptions quota = small();
  quota.max_in_flight = 3;
  quota.requests_per_minute = 6000;
  const auto a = backend(server, quota, {.outage = RedisOutage::fail_closed});
  const auto b = backend(server, quota, {.outage = RedisOutage::fail_closed});
  CHECK(take_all(*a, now()) == 3);
  CHECK(take_all(*b, now()) == 0);
  server.kill();
  CHECK(until(
      [&] { return !std::holds_alternative<MustWait>(b->try_acquire(now(), {}, {}, nullptr)); }));
  server.start();
  // b is back first, and a's three calls are still under way.
  int granted = 0;
  CHECK(until([&] {
    granted += take_all(*b, now());
    const auto seen = b->look(now());
    return seen && seen->in_flight == 3 && seen->owners == 2;
  }));
  CHECK(granted == 0);
}

TEST_CASE("a Redis that does not answer is left after two timeouts, and found again") {
  RedisServer server;
  const auto a = backend(server, small(), {.outage = RedisOutage::fail_closed, .timeout = 50ms});
  server.stop_answering();
  for (int i = 0; i < 3; ++i) {
    CHECK(std::holds_alternative<Refused>(a->try_acquire(now(), {}, {}, nullptr)));
  }
  server.answer_again();
  CHECK(until([&] { return a->look(now()).has_value() || take_all(*a, now()) > 0; }));
}

TEST_CASE("an address that is none is misuse; a Redis that is not there is not") {
  CHECK_THROWS_AS(RedisBackend({.redis = {.url = "http://x"}, .rules = rules_of(small())}),
                  std::invalid_argument);
  CHECK(RedisAddress::parse("redis://u:p%40ss@h:1234/5")->describe() == "redis://h:1234/5");
  CHECK(RedisAddress::parse("redis://u:p%40ss@h:1234/5")->password.reveal() == "p@ss");
  CHECK(RedisAddress::parse("unix:///run/r.sock?db=2")->database == 2);
  CHECK(RedisAddress::parse("rediss://h").error().message.find("TLS") != std::string::npos);
  CHECK_FALSE(RedisAddress::parse("redis://h:99999"));
  const RedisBackend nobody({.redis = {.url = "redis://127.0.0.1:1"}, .rules = rules_of(small())});
  CHECK(nobody.describe().find("unreachable") != std::string::npos);
}

}  // namespace
}  // namespace moderato
