#include <moderato/llm/limiter/limiter.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <moderato/core/simulation.hpp>
#include <support/sanitizers.hpp>

namespace moderato {
namespace {

using namespace std::chrono_literals;
using Kind = Outcome::Kind;

constexpr Ask call{.input_tokens = 900, .output_tokens = 100};

Outcome rejected(std::optional<Duration> hint) {
  return {.kind = Kind::rejected,
          .error = ErrorCode::rate_limited,
          .http_status = 429,
          .why = "Rate limit reached",
          .signal = {.retry_after = hint}};
}

std::string lines(const std::vector<std::string>& log) {
  return fmt::format("{}", fmt::join(log, "\n"));
}

double seconds_of(Instant at) {
  return std::chrono::duration<double>(at.time_since_epoch()).count();
}

TEST_CASE("a quota without sense is refused when it is made, with a text that says why") {
  CHECK_THROWS_WITH_AS((void)quota({}),
                       "quota: no limit is given; set requests_per_minute, tokens_per_minute or "
                       "max_in_flight, or say unlimited()",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)quota({.requests_per_minute = -1}),
                       "quota: requests_per_minute is -1; give a positive limit, or 0 for no limit",
                       std::invalid_argument);
  CHECK_THROWS_AS((void)quota({.tokens_per_minute = -1}), std::invalid_argument);
  CHECK_THROWS_AS((void)quota({.requests_per_minute = 5, .max_in_flight = -1}),
                  std::invalid_argument);
  for (const double safety : {0.0, -0.5, 1.01, std::nan("")}) {
    CHECK_THROWS_AS((void)quota({.requests_per_minute = 5, .safety = safety}),
                    std::invalid_argument);
  }
  CHECK_THROWS_AS((void)quota({.requests_per_minute = 5, .request_burst = -1s}),
                  std::invalid_argument);
  CHECK_THROWS_AS((void)adaptive({.initial_in_flight = 0}), std::invalid_argument);
  CHECK_THROWS_AS((void)adaptive({.initial_in_flight = 9, .max_in_flight = 8}),
                  std::invalid_argument);
  CHECK_THROWS_AS((void)limiter_over(nullptr, {}, "x"), std::invalid_argument);
}

TEST_CASE("a limiter describes itself") {
  CHECK(
      quota({.requests_per_minute = 60, .tokens_per_minute = 90'000, .max_in_flight = 8})
          .describe() ==
      "quota: in_process, 60 requests/min, 90000 tokens/min, 8 in flight, at most 100000 waiting");
  CHECK(adaptive({.name = "key a"}).describe() ==
        "key a: in_process, learning, 1 of at most 256 in flight, at most 100000 waiting");
  CHECK(Limiter{}.describe() == adaptive().describe());
  CHECK(unlimited().describe() == "unlimited: unlimited, at most 0 waiting");
}

TEST_CASE("calls go in the order of their arrival, each at the instant at which there is room") {
  Simulation world;
  Limiter limiter = quota({.requests_per_minute = 60, .safety = 1.0});
  std::vector<std::string> log;
  for (int i = 0; i < 4; ++i) {
    world.spawn([&, i] {
      auto permit = limiter.acquire({}, {}, world.clock());
      log.push_back(fmt::format("{} at {} s, waited {} s", i, seconds_of(world.clock().now()),
                                std::chrono::duration<double>(permit->waited()).count()));
      sleep_for(100ms);
      permit->settle({.kind = Kind::succeeded});
    });
  }
  world.run();
  CHECK(lines(log) == lines({"0 at 0 s, waited 0 s", "1 at 1 s, waited 1 s", "2 at 2 s, waited 2 s",
                             "3 at 3 s, waited 3 s"}));
}

TEST_CASE("a small call does not overtake a large one that came before it") {
  Simulation world;
  Limiter limiter = quota({.tokens_per_minute = 60'000, .safety = 1.0});
  std::vector<int> order;
  const auto spend = [&](std::int64_t tokens, int name) {
    auto permit = limiter.acquire({.input_tokens = tokens}, {}, world.clock());
    order.push_back(name);
    permit->settle({.kind = Kind::unknown});
  };
  world.spawn([&] { spend(2'500, 1); });
  world.spawn([&] { spend(9'000, 2); });
  world.spawn([&] { spend(10, 3); });
  world.run();
  CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE("a settled call hands its slot to the next one at once") {
  Simulation world;
  Limiter limiter = quota({.max_in_flight = 2});
  std::vector<double> starts;
  for (int i = 0; i < 6; ++i) {
    world.spawn([&] {
      auto permit = limiter.acquire(call, {}, world.clock());
      starts.push_back(seconds_of(world.clock().now()));
      sleep_for(3s);
      permit->settle({.kind = Kind::succeeded});
    });
  }
  world.run();
  CHECK(starts == std::vector<double>{0, 0, 3, 3, 6, 6});
  CHECK(limiter.snapshot(world.clock().now()).key.in_flight == 0);
}

TEST_CASE("a permit that is dropped refunds everything") {
  Simulation world;
  Limiter limiter =
      quota({.requests_per_minute = 1, .tokens_per_minute = 1'000, .max_in_flight = 1});
  world.block_on([&] {
    { auto permit = limiter.acquire(call, {}, world.clock()); }
    auto again = limiter.acquire(call, {}, world.clock());
    CHECK(again.has_value());
    Permit moved = std::move(*again);
    CHECK(moved);
    CHECK_FALSE(*again);
    moved = Permit{};
    CHECK(limiter.acquire(call, {}, world.clock()).has_value());
  });
  CHECK(world.clock().now() == Instant{});
  CHECK(limiter.snapshot({}).key.in_flight == 0);
}

TEST_CASE("a second settle changes nothing") {
  Simulation world;
  Limiter limiter = quota({.max_in_flight = 2});
  world.block_on([&] {
    auto permit = limiter.acquire(call, {}, world.clock());
    permit->settle({.kind = Kind::succeeded});
    permit->settle({.kind = Kind::succeeded});
  });
  CHECK(limiter.snapshot({}).key.in_flight == 0);
}

TEST_CASE("the announced wait is the real one within 50 ms") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    Simulation world({.seed = seed});
    Limiter limiter = quota({.requests_per_minute = 120, .tokens_per_minute = 200'000});
    int announced = 0;
    for (int i = 0; i < 200; ++i) {
      world.spawn([&, i] {
        sleep_for(std::chrono::milliseconds(i * 20));
        const Ask ask{.input_tokens = static_cast<std::int64_t>(500 + world.random() % 3'000)};
        std::optional<QueuedNotice> notice;
        auto permit = limiter.acquire(ask, {}, world.clock(),
                                      [&](const QueuedNotice& given) { notice = given; });
        if (!notice) return permit->settle({.kind = Kind::unknown});
        ++announced;
        const Duration off = permit->waited() - notice->expected_wait;
        CHECK(std::abs(std::chrono::duration<double>(off).count()) <= 0.05);
        permit->settle({.kind = Kind::unknown});
      });
    }
    world.run();
    CHECK(announced > 150);
  }
}

TEST_CASE("the wait for a slot is guessed from how long calls hold one") {
  Simulation world;
  Limiter limiter = quota({.max_in_flight = 1});
  std::vector<QueuedNotice> notices;
  const auto hold = [&] {
    auto permit = limiter.acquire(call, {}, world.clock(),
                                  [&](const QueuedNotice& notice) { notices.push_back(notice); });
    sleep_for(4s);
    permit->settle({.kind = Kind::succeeded});
  };
  world.block_on(hold);
  for (int i = 0; i < 3; ++i) world.spawn(hold);
  world.run();
  REQUIRE(notices.size() == 2);
  CHECK(std::string(notices[0].reason) == "in_flight");
  CHECK(notices[0].position == 0);
  CHECK(notices[0].expected_wait == 4s);
  CHECK(notices[1].position == 1);
  CHECK(notices[1].expected_wait == 8s);
}

TEST_CASE("a call that cannot go before its deadline is refused at once and told when") {
  Simulation world;
  Limiter limiter = quota({.requests_per_minute = 60, .safety = 1.0});
  world.block_on([&] {
    auto first = limiter.acquire({}, {}, world.clock());
    const auto second =
        limiter.acquire({}, {.deadline = world.clock().now() + 900ms}, world.clock());
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().code == ErrorCode::deadline_exceeded);
    CHECK(second.error().retry_after == 1s);
    CHECK(second.error().message.find("requests") != std::string::npos);
    CHECK(world.clock().now() == Instant{});
    const auto past = limiter.acquire({}, {.deadline = world.clock().now()}, world.clock());
    CHECK(past.error().code == ErrorCode::deadline_exceeded);
    CHECK(limiter.acquire({}, {.deadline = world.clock().now() + 1'001ms}, world.clock()));
  });
  CHECK(limiter.snapshot({}).refused == 2);
}

TEST_CASE("calls ahead count when a deadline is judged") {
  Simulation world;
  Limiter limiter = quota({.requests_per_minute = 60, .safety = 1.0});
  const auto spend = [&](Duration allowed) {
    const auto deadline = saturating_add(world.clock().now(), allowed);
    auto permit = limiter.acquire({}, {.deadline = deadline}, world.clock());
    if (permit) permit->settle({.kind = Kind::unknown});
    return permit.has_value();
  };
  for (int i = 0; i < 6; ++i) world.spawn([&] { CHECK(spend(Duration::max())); });
  world.spawn([&] {
    CHECK_FALSE(spend(5'500ms));
    CHECK(world.clock().now() == Instant{});
    CHECK(spend(6'500ms));
  });
  world.run();
}

TEST_CASE("a wait for a slot ends at the deadline") {
  Simulation world;
  Limiter limiter = quota({.max_in_flight = 1});
  world.spawn([&] {
    auto permit = limiter.acquire(call, {}, world.clock());
    sleep_for(1min);
  });
  world.spawn([&] {
    const auto late = limiter.acquire(call, {.deadline = Instant{} + 5s}, world.clock());
    CHECK(late.error().code == ErrorCode::deadline_exceeded);
    CHECK(world.clock().now() == Instant{} + 5s);
  });
  world.run();
}

TEST_CASE("one call more than the queue holds is refused") {
  Simulation world;
  Limiter limiter = quota({.requests_per_minute = 60, .safety = 1.0, .queue = {.max_queue = 2}});
  std::vector<bool> granted;
  for (int i = 0; i < 4; ++i) {
    world.spawn([&] {
      auto permit = limiter.acquire({}, {}, world.clock());
      granted.push_back(permit.has_value());
      if (permit) return permit->settle({.kind = Kind::unknown});
      CHECK(permit.error().code == ErrorCode::queue_full);
      CHECK(permit.error().retry_after == 3s);
      CHECK(world.clock().now() == Instant{});
    });
  }
  world.run();
  CHECK(granted == std::vector<bool>{true, false, true, true});
}

TEST_CASE("a cancelled call leaves the queue and the ones behind it move up") {
  Simulation world;
  Limiter limiter = quota({.requests_per_minute = 60, .safety = 1.0});
  std::vector<std::string> log;
  std::stop_source stop_b;
  std::stop_source stop_d;
  const auto spend = [&](const char* name, std::stop_token token) {
    auto permit = limiter.acquire({}, {.stop = std::move(token)}, world.clock());
    log.push_back(fmt::format("{} {} at {}", name, permit ? "went" : to_string(permit.error().code),
                              seconds_of(world.clock().now())));
    if (permit) permit->settle({.kind = Kind::unknown});
  };
  world.spawn([&] { spend("a", {}); });
  world.spawn([&] { spend("b", stop_b.get_token()); });
  world.spawn([&] { spend("c", {}); });
  world.spawn([&] { spend("d", stop_d.get_token()); });
  world.spawn([&] { spend("e", {}); });
  world.spawn([&] {
    sleep_for(500ms);
    stop_b.request_stop();
    stop_d.request_stop();
  });
  world.run();
  CHECK(lines(log) == lines({"a went at 0", "b cancelled at 0.5", "d cancelled at 0.5",
                             "c went at 1", "e went at 2"}));
  CHECK(limiter.snapshot(world.clock().now()).queued == 0);
}

TEST_CASE("room that comes at the moment of a cancellation goes to the next call") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    Simulation world({.seed = seed, .shuffle = true});
    Limiter limiter = quota({.max_in_flight = 1});
    std::stop_source stop;
    int went = 0;
    const auto spend = [&](std::stop_token token) {
      auto permit = limiter.acquire(call, {.stop = std::move(token)}, world.clock());
      if (!permit) return;
      ++went;
      sleep_for(1s);
      permit->settle({.kind = Kind::succeeded});
    };
    world.spawn([&] { spend({}); });
    for (int i = 0; i < 10; ++i) {
      world.spawn([&, i] { spend(i % 2 == 0 ? stop.get_token() : std::stop_token{}); });
    }
    world.spawn([&] {
      sleep_for(1s);
      stop.request_stop();
    });
    world.run();  // a lost slot would be a deadlock
    CHECK(went >= 6);
  }
}

TEST_CASE(
    "a rejection pauses the key for everybody, then one finds out and the others follow in order") {
  Simulation world;
  std::vector<std::string> events;
  Limiter limiter = quota({.max_in_flight = 2, .name = "key"});
  const Observer observer([&](const Event& event) {
    const auto* change = std::get_if<LimiterChanged>(&event.data);
    REQUIRE(change != nullptr);
    events.push_back(fmt::format("{} {} for {} s at {}: {}", change->key, change->state,
                                 std::chrono::duration<double>(change->lasting).count(),
                                 seconds_of(event.at), change->why));
  });
  std::vector<std::string> log;
  for (int i = 0; i < 5; ++i) {
    world.spawn([&, i] {
      auto permit = limiter.acquire(call, {.observer = observer}, world.clock());
      log.push_back(fmt::format("{} at {}", i, seconds_of(world.clock().now())));
      sleep_for(1s);
      permit->settle(i < 2 ? rejected(30s) : Outcome{.kind = Kind::succeeded});
    });
  }
  world.run();
  CHECK(lines(log) == lines({"0 at 0", "1 at 0", "2 at 31", "3 at 32", "4 at 32"}));
  CHECK(lines(events) == lines({"key paused for 30 s at 1: Rate limit reached",
                                "key ramp for 0 s at 32: calls succeed again"}));
}

TEST_CASE("a pause refuses at once the waiting calls whose deadline is before its end") {
  Simulation world;
  Limiter limiter = quota({.max_in_flight = 1});
  std::vector<std::string> log;
  const auto wait_until = [&](const char* name, Instant deadline) {
    auto permit = limiter.acquire(call, {.deadline = deadline}, world.clock());
    log.push_back(fmt::format("{} {} at {}", name, permit ? "went" : to_string(permit.error().code),
                              seconds_of(world.clock().now())));
    if (permit) permit->settle({.kind = Kind::succeeded});
  };
  world.spawn([&] {
    auto permit = limiter.acquire(call, {}, world.clock());
    sleep_for(1s);
    permit->settle(rejected(30s));
  });
  world.spawn([&] { wait_until("patient", no_deadline); });
  world.spawn([&] { wait_until("hasty", Instant{} + 20s); });
  world.spawn([&] { wait_until("calm", Instant{} + 50s); });
  world.run();
  CHECK(lines(log) ==
        lines({"hasty deadline_exceeded at 1", "patient went at 31", "calm went at 31"}));
}

TEST_CASE("a billing refusal empties the queue at once") {
  Simulation world;
  Limiter limiter = quota({.max_in_flight = 1});
  int refused = 0;
  world.spawn([&] {
    auto permit = limiter.acquire(call, {}, world.clock());
    sleep_for(1s);
    permit->settle({.kind = Kind::rejected,
                    .error = ErrorCode::quota_exhausted,
                    .http_status = 429,
                    .why = "insufficient_quota"});
  });
  for (int i = 0; i < 5; ++i) {
    world.spawn([&] {
      const auto permit = limiter.acquire(call, {}, world.clock());
      REQUIRE_FALSE(permit.has_value());
      CHECK(permit.error().code == ErrorCode::quota_exhausted);
      CHECK(permit.error().retry_after == 10min);
      CHECK(permit.error().message.find("insufficient_quota") != std::string::npos);
      ++refused;
    });
  }
  world.run();
  CHECK(refused == 5);
  CHECK(world.clock().now() == Instant{} + 1s);
}

TEST_CASE("a hint longer than max_hold is not slept") {
  Simulation world;
  Limiter limiter = quota({.max_in_flight = 4, .max_hold = 60s});
  world.block_on([&] {
    auto permit = limiter.acquire(call, {}, world.clock());
    permit->settle(rejected(61s));
    const auto next = limiter.acquire(call, {}, world.clock());
    CHECK(next.error().code == ErrorCode::rate_limited);
    CHECK(next.error().retry_after == 61s);
    CHECK(limiter.snapshot(world.clock().now()).key.state == "closed");
    CHECK(world.clock().now() == Instant{});
    sleep_for(61s);
    CHECK(limiter.acquire(call, {}, world.clock()).has_value());
  });
}

TEST_CASE("an unlimited limiter never waits, whatever the provider says") {
  Simulation world;
  Limiter limiter = unlimited();
  world.block_on([&] {
    std::vector<Permit> permits;
    for (int i = 0; i < 1'000; ++i) permits.push_back(*limiter.acquire(call, {}, world.clock()));
    CHECK(limiter.snapshot({}).key.in_flight == 1'000);
    permits.back().settle(rejected(1h));
    CHECK(limiter.acquire(call, {}, world.clock()).has_value());
  });
  CHECK(limiter.snapshot({}).key.in_flight == 0);
  CHECK(world.clock().now() == Instant{});
}

TEST_CASE("an adaptive limiter adopts a quota from the first answer that states one") {
  Simulation world;
  Limiter limiter = adaptive();
  world.block_on([&] {
    auto first = limiter.acquire({}, {}, world.clock());
    first->settle(
        {.kind = Kind::succeeded, .signal = {.headers = {{"requests", 60, 59, Duration(1s)}}}});
    for (int i = 0; i < 5; ++i) {
      limiter.acquire({}, {}, world.clock())->settle({.kind = Kind::succeeded});
    }
  });
  // one a second from the second call on, at 0.99 of the limit
  CHECK(seconds_of(world.clock().now()) == doctest::Approx(4 / 0.99).epsilon(0.001));
}

TEST_CASE("a saturated quota is used up to its safety share, whoever cancels and whatever fails") {
  Simulation world({.seed = 5, .keep_event_log = false});
  Limiter limiter = quota({.requests_per_minute = 600, .tokens_per_minute = 600'000});
  std::int64_t used = 0;
  std::stop_source stop;
  for (int i = 0; i < 64; ++i) {
    world.spawn([&, i] {
      std::mt19937_64 random(static_cast<std::uint64_t>(i));
      while (world.clock().now() < Instant{} + 10min) {
        const Ask ask{.input_tokens = static_cast<std::int64_t>(500 + random() % 3'000)};
        const Instant deadline = random() % 8 == 0 ? world.clock().now() + 3s : no_deadline;
        auto permit = limiter.acquire(ask, {.deadline = deadline}, world.clock());
        if (!permit) {
          sleep_for(permit.error().retry_after.value_or(1s));
          continue;
        }
        sleep_for(std::chrono::milliseconds(500 + random() % 4'000));
        if (random() % 10 == 0) continue;  // dropped: refunded
        used += ask.tokens();
        permit->settle({.kind = Kind::succeeded, .input_tokens = ask.tokens()});
      }
    });
  }
  world.run();
  const double share = static_cast<double>(used) / (600'000.0 * 10);
  CHECK(share > 0.95);
  CHECK(share < 1.01);
}

TEST_CASE("a hundred thousand calls wait in one queue and all of them go") {
  Simulation world({.stack_size = 64 * 1024, .keep_event_log = false});
  constexpr int waiters = test::thread_sanitizer ? 1'000 : 100'000;  // it keeps 1 MiB a fiber
  Limiter limiter = quota({.requests_per_minute = 6'000'000, .queue = {.max_queue = 100'000}});
  int went = 0;
  for (int i = 0; i < waiters; ++i) {
    world.spawn([&] {
      auto permit = limiter.acquire({}, {}, world.clock());
      went += permit ? 1 : 0;
    });
  }
  world.run();
  CHECK(went == waiters);
}

}  // namespace
}  // namespace moderato
