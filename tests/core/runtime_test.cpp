#include <moderato/core/runtime.hpp>

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <moderato/core/simulation.hpp>
#include <new>
#include <numeric>
#include <support/sanitizers.hpp>
#include <thread>

namespace moderato {
namespace {

using namespace std::chrono_literals;

TEST_CASE("a blocking call on an ordinary thread gives the function's value") {
  Runtime runtime;
  CHECK(runtime.block_on([] { return Runtime::on_fiber() ? 42 : 0; }) == 42);
  CHECK_FALSE(Runtime::on_fiber());
}

TEST_CASE("on a fiber a blocking call runs in place") {
  Runtime runtime;
  runtime.block_on([&] {
    const auto outer = std::this_thread::get_id();
    runtime.block_on([&] { CHECK(std::this_thread::get_id() == outer); });
    CHECK(runtime.stats().fibers == 1);
  });
}

TEST_CASE("an exception crosses from the fiber to the thread that joins") {
  Runtime runtime;
  auto task = runtime.spawn([]() -> int { throw std::runtime_error("from the fiber"); });
  CHECK_THROWS_WITH_AS(task.join(), "from the fiber", std::runtime_error);
}

TEST_CASE("fibers that wait inside catch blocks keep their own exceptions") {
  Simulation world;
  std::vector<std::string> seen;
  for (int i = 0; i < 3; ++i) {
    world.spawn([&seen, i] {
      try {
        throw std::runtime_error(std::to_string(i));
      } catch (const std::runtime_error&) {
        sleep_for(std::chrono::seconds(3 - i));  // the others throw and catch meanwhile
        try {
          throw;
        } catch (const std::runtime_error& again) {
          seen.emplace_back(again.what());
        }
      }
    });
  }
  world.run();
  CHECK(seen == std::vector<std::string>{"2", "1", "0"});
}

TEST_CASE("parallel keeps the order of the items and the bound on how many run") {
  Simulation world;
  std::vector<int> items(20);
  std::iota(items.begin(), items.end(), 0);
  int running = 0;
  int most = 0;
  const auto squares = world.parallel(items, {.max_in_flight = 3}, [&](int item) {
    most = std::max(most, ++running);
    sleep_for(std::chrono::seconds(20 - item));
    --running;
    return item * item;
  });
  CHECK(most == 3);
  for (int i = 0; i < 20; ++i) CHECK(squares[static_cast<std::size_t>(i)] == i * i);
}

TEST_CASE("parallel rethrows the first exception when all have ended and starts no new ones") {
  Simulation world;
  std::vector<int> items{1, 2, 3, 4, 5, 6};
  int started = 0;
  int ended = 0;
  CHECK_THROWS_WITH(world.parallel(items, {.max_in_flight = 2},
                                   [&](int item) {
                                     ++started;
                                     sleep_for(std::chrono::seconds(item));
                                     ++ended;
                                     if (item == 1) throw std::runtime_error("first");
                                   }),
                    "first");
  CHECK(started == 2);
  CHECK(ended == 2);
}

TEST_CASE("the worker pool has a stack of its own and brings values and exceptions back") {
  Runtime runtime({.worker_threads = 2});
  runtime.block_on([&] {
    const auto loop_thread = std::this_thread::get_id();
    CHECK(runtime.on_worker([&] { return std::this_thread::get_id() != loop_thread; }));
    CHECK_THROWS_WITH(runtime.on_worker([] { throw std::runtime_error("from the worker"); }),
                      "from the worker");
  });
  // The worker comes back a moment after its result.
  while (runtime.stats().worker_jobs != 0) std::this_thread::yield();
}

TEST_CASE("a job on the worker pool may call blocking functions") {
  Runtime runtime;
  const int value = runtime.block_on(
      [&] { return runtime.on_worker([&] { return runtime.block_on([] { return 7; }); }); });
  CHECK(value == 7);
}

TEST_CASE("an embedder runs the loop on a thread of its own") {
  Runtime runtime({.threads = 0});
  WaitPoint running("the embedder to run the loop");
  runtime.spawn([&] { running.notify(); });
  std::thread embedder([&] { runtime.run(); });
  running.wait();
  CHECK(runtime.block_on([] { return std::this_thread::get_id(); }) == embedder.get_id());
  runtime.stop();
  embedder.join();
}

TEST_CASE("without threads a blocking call drives the loop itself") {
  Runtime runtime({.threads = 0});
  const auto here = std::this_thread::get_id();
  CHECK(runtime.block_on([&] { return std::this_thread::get_id() == here; }));
  int value = 0;
  runtime.spawn([&] { value = 1; });
  while (runtime.poll()) {
  }
  CHECK(value == 1);
}

TEST_CASE("running a runtime that has threads is a misuse that is explained") {
  Runtime runtime;
  CHECK_THROWS_AS(runtime.run(), std::logic_error);
}

TEST_CASE("cancelling a task ends its wait and all later ones") {
  Simulation world;
  std::vector<Wake> wakes;
  auto task = world.spawn([&] {
    wakes.push_back(sleep_for(24h));
    wakes.push_back(sleep_for(24h));
  });
  world.spawn([&] {
    sleep_for(1s);
    task.cancel();
  });
  world.run();
  CHECK(wakes == std::vector<Wake>{Wake::cancelled, Wake::cancelled});
  CHECK(world.clock().now() == Instant{} + 1s);
}

TEST_CASE("cancelling a fiber that waits in parallel cancels what it started") {
  Simulation world;
  int cancelled = 0;
  auto task = world.spawn([&] {
    const std::vector<int> items{1, 2, 3};
    world.parallel(items, {.max_in_flight = 3}, [&](int) {
      if (sleep_for(24h) == Wake::cancelled) ++cancelled;
    });
  });
  world.spawn([&] { task.cancel(); });
  world.run();
  CHECK(cancelled == 3);
}

TEST_CASE("a stop token wakes a wait from another thread") {
  Runtime runtime;
  std::stop_source stop;
  WaitPoint never("nothing at all");
  auto task = runtime.spawn([&] { return never.wait(no_deadline, stop.get_token()); });
  std::thread([&] { stop.request_stop(); }).join();
  CHECK(task.join() == Wake::cancelled);
}

TEST_CASE("an ordinary thread waits for a fiber's notification") {
  Runtime runtime;
  WaitPoint point("the fiber");
  auto task = runtime.spawn([&] { point.notify(); });
  CHECK(point.wait() == Wake::notified);
  task.join();
}

TEST_CASE("a notification that comes first is kept for the next wait") {
  WaitPoint point("anything");
  point.notify();
  CHECK(point.wait() == Wake::notified);
  point.notify();
  point.reset();
  CHECK(point.wait(SteadyClock().now()) == Wake::timed_out);
}

TEST_CASE("the runtime ends with fibers that wait for ever") {
  int ended = 0;
  {
    Runtime runtime({.threads = 2});
    for (int i = 0; i < 100; ++i) {
      runtime.spawn([&ended] {
        WaitPoint never("nothing");
        if (never.wait() == Wake::cancelled) std::atomic_ref(ended).fetch_add(1);
      });
    }
  }
  CHECK(ended == 100);
}

TEST_CASE("several loops share the items of parallel") {
  Runtime runtime({.threads = 2});
  WaitPoint first("the second item");
  WaitPoint second("the first item");
  const std::vector<int> items{0, 1};
  const auto threads = runtime.parallel(items, {.max_in_flight = 2}, [&](int item) {
    (item == 0 ? second : first).notify();
    (item == 0 ? first : second).wait();
    return std::this_thread::get_id();
  });
  CHECK(threads[0] != threads[1]);
}

TEST_CASE("notifications from many threads reach many fibers") {
  Runtime runtime({.threads = 2});
  constexpr int count = 1000;
  std::vector<std::unique_ptr<WaitPoint>> points;
  for (int i = 0; i < count; ++i) points.push_back(std::make_unique<WaitPoint>("the other side"));
  std::vector<Task<Wake>> tasks;
  for (auto& point : points) tasks.push_back(runtime.spawn([&] { return point->wait(); }));
  std::vector<std::jthread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = t; i < points.size(); i += 4) points[i]->notify();
    });
  }
  for (auto& task : tasks) CHECK(task.join() == Wake::notified);
}

TEST_CASE("the runtime ends although a fiber of one loop still starts fibers on another") {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> ran = 0;
    {
      Runtime runtime({.threads = 2});
      WaitPoint started("the fiber to start");
      runtime.spawn([&] {
        started.notify();
        sleep_for(24h);  // cancelled by the end of the runtime
        for (int i = 0; i < 10; ++i) {
          const std::vector<int> items{1, 2};
          runtime.parallel(items, {.max_in_flight = 2}, [&](int) { ++ran; });
          runtime.on_worker([] { sleep_for(1h); });
        }
      });
      started.wait();
    }
    REQUIRE(ran == 20);
  }
}

TEST_CASE("parallel without memory for all stacks ends what it started, and says so" *
          doctest::skip(test::address_sanitizer || test::thread_sanitizer)) {
  const pid_t child = ::fork();
  if (child == 0) {
    bool told = false;
    int left = 0;
    {
      Runtime runtime({.threads = 0, .stack_size = 64UL * 1024 * 1024});
      runtime.block_on([&] {
        rlimit few{1UL << 30, 1UL << 30};
        ::setrlimit(RLIMIT_AS, &few);
        const std::vector<int> items(1000);
        try {
          runtime.parallel(items, {.max_in_flight = 1000}, [&](int) {
            ++left;
            yield_fiber();
            --left;
          });
        } catch (const std::bad_alloc&) {
          told = true;
        }
      });
    }
    ::_exit(told && left == 0 ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a task for which another thread's loop has no memory fails where it is joined" *
          doctest::skip(test::address_sanitizer || test::thread_sanitizer)) {
  Runtime runtime({.threads = 1, .stack_size = std::size_t{1} << 60U});
  CHECK_THROWS_AS(runtime.spawn([] { return 1; }).join(), std::bad_alloc);
}

TEST_CASE("a fiber that never waits sees that its task was cancelled") {
  Simulation world;
  bool saw = false;
  auto task = world.spawn([&] {
    CHECK_FALSE(fiber_cancelled());
    while (!fiber_cancelled()) yield_fiber();
    saw = true;
  });
  world.spawn([&] { task.cancel(); });
  world.run();
  CHECK(saw);
  CHECK_FALSE(fiber_cancelled());
}

}  // namespace
}  // namespace moderato
