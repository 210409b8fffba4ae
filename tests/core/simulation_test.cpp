#include <moderato/core/simulation.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <support/sanitizers.hpp>

namespace moderato {
namespace {

using namespace std::chrono_literals;

TEST_CASE("virtual time jumps to the next sleeper") {
  Simulation world;
  std::vector<std::string> log;
  world.spawn([&] {
    sleep_for(2h);
    log.emplace_back("two hours");
  });
  world.spawn([&] {
    sleep_for(1h);
    log.emplace_back("one hour");
  });
  world.run();
  CHECK(log == std::vector<std::string>{"one hour", "two hours"});
  CHECK(world.clock().now() == Instant{} + 2h);
}

TEST_CASE("sleepers of the same instant wake in the order in which they lay down") {
  Simulation world;
  std::vector<int> order;
  for (int i = 0; i < 50; ++i) {
    world.spawn([&order, i] {
      sleep_for(1s);
      order.push_back(i);
    });
  }
  world.run();
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("run_until stops virtual time where it was told") {
  Simulation world;
  bool woke = false;
  world.spawn([&] {
    sleep_for(10s);
    woke = true;
  });
  world.run_for(4s);
  CHECK(world.clock().now() == Instant{} + 4s);
  CHECK_FALSE(woke);
  world.run();
  CHECK(woke);
  CHECK(world.clock().now() == Instant{} + 10s);
}

std::string history(std::uint64_t seed, bool shuffle) {
  Simulation world({.seed = seed, .shuffle = shuffle});
  for (int i = 0; i < 20; ++i) {
    world.spawn([&world, i] {
      for (int round = 0; round < 5; ++round) {
        sleep_for(std::chrono::milliseconds(world.random() % 3));
        world.observer()(Event{.at = world.clock().now(),
                               .data = Warning{std::to_string(i) + "/" + std::to_string(round)}});
      }
    });
  }
  world.run();
  return world.event_log();
}

TEST_CASE("the same seed gives the same event log to the byte, another seed another") {
  for (const bool shuffle : {false, true}) {
    CHECK(history(7, shuffle) == history(7, shuffle));
    CHECK(history(7, shuffle) != history(8, shuffle));
  }
}

TEST_CASE("a deadlock names every fiber that is stuck and the simulation can go on") {
  Simulation world;
  WaitPoint key("the key of the door");
  auto visitor = world.spawn([&] { return key.wait(); }, {.name = "visitor"});
  std::string report;
  try {
    world.run();
  } catch (const Deadlock& deadlock) {
    report = deadlock.what();
  }
  CHECK(report.find("\"visitor\" waits for the key of the door") != std::string::npos);
  CHECK(visitor.join() == Wake::cancelled);
  bool ran = false;
  world.spawn([&] {
    sleep_for(1s);
    ran = true;
  });
  world.run();
  CHECK(ran);
}

TEST_CASE("a blocking call that deadlocks throws and leaves nothing behind") {
  Simulation world;
  int ended = 0;
  CHECK_THROWS_AS(world.block_on([&] {
    WaitPoint never("godot");
    never.wait();
    ++ended;
  }),
                  Deadlock);
  CHECK(ended == 1);
  CHECK(world.stats().fibers == 0);
}

TEST_CASE("the loop stands still while a simulation's worker job runs") {
  const auto run = [] {
    Simulation world;
    std::string log;
    for (int i = 0; i < 4; ++i) {
      world.spawn([&, i] {
        log += world.on_worker([&] { return "<" + std::to_string(i); });
        log += std::to_string(i) + ">";
      });
    }
    world.run();
    return log;
  };
  const std::string first = run();
  for (int i = 0; i < 20; ++i) CHECK(run() == first);
}

TEST_CASE("a simulation's worker job may wait in virtual time") {
  Simulation world;
  world.block_on([&] {
    world.on_worker([&] {
      sleep_for(3h);
      world.block_on([&] { sleep_for(1h); });
    });
  });
  CHECK(world.clock().now() == Instant{} + 4h);
}

TEST_CASE("100,000 fibers sleep in virtual time") {
  Simulation world({.keep_event_log = false});
  constexpr int fibers = test::thread_sanitizer ? 1'000 : 100'000;  // it keeps 1 MiB a fiber
  int woken = 0;
  for (int i = 0; i < fibers; ++i) {
    world.spawn([&woken, i] {
      for (int round = 0; round < 10; ++round) sleep_for(std::chrono::milliseconds(1 + i % 97));
      ++woken;
    });
  }
  world.run();
  CHECK(woken == fibers);
  CHECK(world.stats().fibers == 0);
}

}  // namespace
}  // namespace moderato
