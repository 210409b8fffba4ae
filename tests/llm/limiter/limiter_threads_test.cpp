#include <doctest/doctest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include <moderato/core/clock.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/llm/limiter/limiter.hpp>

namespace moderato {
namespace {

using namespace std::chrono_literals;
using Kind = Outcome::Kind;

/// Counts who is inside; the highest number ever.
struct Inside {
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  void enter() {
    const int count = ++now;
    int seen = most.load();
    while (count > seen && !most.compare_exchange_weak(seen, count)) {
    }
  }
  void leave() { --now; }
};

TEST_CASE("ordinary threads share slots without exceeding them or losing one") {
  const SteadyClock clock;
  Limiter limiter = quota({.max_in_flight = 3});
  Inside inside;
  std::atomic<int> went{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        auto permit = limiter.acquire({}, {}, clock);
        REQUIRE(permit.has_value());
        inside.enter();
        std::this_thread::yield();
        inside.leave();
        ++went;
        if (i % 3 != 0) permit->settle({.kind = Kind::succeeded, .input_tokens = 1});
      }
    });
  }
  threads.clear();
  CHECK(went == 2'400);
  CHECK(inside.most <= 3);
  CHECK(limiter.snapshot(clock.now()).key.in_flight == 0);
  CHECK(limiter.snapshot(clock.now()).queued == 0);
  CHECK(limiter.snapshot(clock.now()).granted == 2'400);
}

TEST_CASE("fibers of several loops share one limiter, with cancellations and deadlines") {
  Runtime runtime({.threads = 4});
  Limiter limiter = quota(
      {.requests_per_minute = 6'000'000, .tokens_per_minute = 600'000'000, .max_in_flight = 4});
  Inside inside;
  std::atomic<int> went{0};
  std::atomic<int> refused{0};
  std::vector<Task<void>> tasks;
  for (int t = 0; t < 32; ++t) {
    tasks.push_back(runtime.spawn([&, t] {
      std::mt19937_64 random(static_cast<std::uint64_t>(t));
      for (int i = 0; i < 60; ++i) {
        std::stop_source stop;
        CallContext context{.stop = stop.get_token()};
        if (random() % 5 == 0) context.deadline = runtime.clock().now() + 200us;
        if (random() % 5 == 0) stop.request_stop();
        auto permit = limiter.acquire({.input_tokens = 100}, context, runtime.clock());
        if (!permit) {
          ++refused;
          continue;
        }
        inside.enter();
        if (random() % 2 == 0) yield_fiber();
        inside.leave();
        ++went;
        if (random() % 4 != 0) permit->settle({.kind = Kind::succeeded, .input_tokens = 50});
      }
    }));
  }
  for (auto& task : tasks) task.join();
  CHECK(went + refused == 32 * 60);
  CHECK(went > 32 * 30);
  CHECK(inside.most <= 4);
  const auto after = limiter.snapshot(runtime.clock().now());
  CHECK(after.key.in_flight == 0);
  CHECK(after.queued == 0);
}

TEST_CASE("a call that waits on one loop is cancelled from another thread") {
  Runtime runtime({.threads = 2});
  Limiter limiter = quota({.max_in_flight = 1});
  for (int i = 0; i < 50; ++i) {
    auto held = limiter.acquire({}, {}, runtime.clock());
    REQUIRE(held.has_value());
    std::stop_source stop;
    std::atomic<bool> queued{false};
    auto waiting = runtime.spawn([&] {
      return limiter
          .acquire({}, {.stop = stop.get_token()}, runtime.clock(),
                   [&](const QueuedNotice&) { queued = true; })
          .has_value();
    });
    while (!queued) std::this_thread::yield();
    std::jthread releasing([&] { held->settle({.kind = Kind::succeeded}); });
    stop.request_stop();
    waiting.join();
    releasing.join();
    CHECK(limiter.snapshot(runtime.clock().now()).key.in_flight == 0);
  }
}

}  // namespace
}  // namespace moderato
