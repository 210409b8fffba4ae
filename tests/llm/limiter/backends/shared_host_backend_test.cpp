#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <moderato/llm/limiter/backends/shared_host_backend.hpp>
#include <semaphore>
#include <string>
#include <variant>

#include <support/temporary_folder.hpp>
#include "child_process.hpp"

namespace moderato {
namespace {

using namespace std::chrono_literals;
using test::ChildProcess;
using test::Pipe;
using test::TemporaryFolder;

QuotaRules rules(std::int64_t requests_per_minute, std::int64_t slots = 0) {
  QuotaRules rules{.slots = slots};
  rules.dimensions.push_back({.name = "requests", .limit = requests_per_minute, .burst = 10s});
  return rules;
}

/// One limiter's end, in this process.
struct Member {
  std::shared_ptr<SharedHost> host;
  std::unique_ptr<SharedHostBackend> backend;

  Member(const std::string& path, const QuotaRules& rules, SharedHostState::Step step = nullptr) {
    auto opened = SharedHost::open(path, rules, step);
    if (!opened) throw std::runtime_error(opened.error().message);
    host = *std::move(opened);
    join(rules);
  }
  Member(std::shared_ptr<SharedHost> same, const QuotaRules& rules) : host(std::move(same)) {
    join(rules);
  }
  void join(const QuotaRules& rules) {
    auto joined = host->join(rules);
    if (!joined) throw std::runtime_error(joined.error().message);
    backend = std::make_unique<SharedHostBackend>(host, *std::move(joined));
  }
  Admission ask(Instant now, Ticket ticket = {}) {
    return backend->try_acquire(now, {}, ticket, nullptr);
  }
  /// Grants without waiting, until there is no more.
  int take_all(Instant now) {
    int count = 0;
    while (std::holds_alternative<Granted>(ask(now))) ++count;
    return count;
  }
};

const Outcome done{.kind = Outcome::Kind::succeeded};

TEST_CASE("what one limiter takes the other does not get") {
  const TemporaryFolder folder;
  Member a(folder.file("q"), rules(60));
  Member b(folder.file("q"), rules(60));
  const Instant now{1h};
  CHECK(std::holds_alternative<Granted>(a.ask(now)));
  CHECK(b.take_all(now) == 9);
  CHECK(a.take_all(now) == 0);
  CHECK(a.backend->snapshot(now).granted == 10);
  CHECK(a.backend->snapshot(now).owners == 2);
}

TEST_CASE("levels outlive the limiters that made them") {
  const TemporaryFolder folder;
  const Instant now{1h};
  CHECK(Member(folder.file("q"), rules(60)).take_all(now) == 10);
  CHECK(Member(folder.file("q"), rules(60)).take_all(now + 3s) == 3);
}

TEST_CASE(
    "of two stated quotas the lower counts, and is spoken of; alone, one gets what one states") {
  const TemporaryFolder folder;
  const Instant now{1h};
  {
    Member a(folder.file("q"), rules(600, 4));
    Member b(folder.file("q"), rules(60, 9));
    CHECK(b.backend->describe().find("60 requests/min, 4 in flight") != std::string::npos);
    CHECK(b.backend->describe().find("stated here: 60 requests/min, 9 in flight") !=
          std::string::npos);
    CHECK(a.backend->describe().find("600") == std::string::npos);
    CHECK(a.backend->snapshot(now).dimensions.at(0).limit == 60);
  }
  Member alone(folder.file("q"), rules(600, 4));
  CHECK(alone.backend->snapshot(now).dimensions.at(0).limit == 600);
  CHECK(alone.backend->describe().find("stated here") == std::string::npos);
}

TEST_CASE("a settle in one process calls the limiter in another whose turn it is") {
  const TemporaryFolder folder;
  const std::string path = folder.file("q");
  Pipe asked;
  Pipe settle;
  ChildProcess other([&]() -> int {
    Member holder(path, rules(6000, 1));
    const auto granted = std::get<Granted>(holder.ask(Instant{1h}));
    asked.send(1);
    settle.receive();
    holder.backend->settle(Instant{1h} + 1s, granted, {}, done);
    for (;;) ::pause();
  });
  asked.receive();
  Member waiter(path, rules(6000, 1));
  std::binary_semaphore called{0};
  const auto listening = waiter.backend->on_room([&] { called.release(); });
  CHECK(std::holds_alternative<MustWait>(waiter.ask(Instant{1h}, {.id = 1})));
  settle.send(1);
  called.acquire();
  CHECK(std::holds_alternative<Granted>(waiter.ask(Instant{1h} + 1s, {.id = 1})));
}

TEST_CASE("limiters of one process call each other at once") {
  const TemporaryFolder folder;
  Member a(folder.file("q"), rules(6000, 1));
  Member b(a.host, rules(6000, 1));
  int calls = 0;
  auto listening = b.backend->on_room([&] { ++calls; });
  const auto granted = std::get<Granted>(a.ask(Instant{1h}));
  CHECK(std::holds_alternative<MustWait>(b.ask(Instant{1h}, {.id = 1})));
  CHECK(calls == 0);
  a.backend->settle(Instant{1h} + 1s, granted, {}, done);
  CHECK(calls == 1);
  listening.reset();
  a.backend->withdraw(Instant{1h} + 1s, 77);
  CHECK(calls == 1);
}

TEST_CASE("the slots and tickets of a killed process come back by themselves") {
  const TemporaryFolder folder;
  const std::string path = folder.file("q");
  Pipe asked;
  ChildProcess doomed([&]() -> int {
    Member holder(path, rules(6000, 3));
    if (holder.take_all(Instant{1h}) != 3) return 1;
    (void)holder.ask(Instant{1h}, {.id = 1});
    asked.send(1);
    for (;;) ::pause();
  });
  asked.receive();
  Member waiter(path, rules(6000, 3));
  std::counting_semaphore<> called{0};
  const auto listening = waiter.backend->on_room([&] { called.release(); });
  CHECK(std::holds_alternative<MustWait>(waiter.ask(Instant{1h}, {.id = 1})));
  CHECK(waiter.backend->snapshot(Instant{1h}).in_flight == 3);
  doomed.kill();
  while (waiter.backend->snapshot(Instant{1h}).in_flight > 0) called.acquire();
  const auto snapshot = waiter.backend->snapshot(Instant{1h});
  CHECK(snapshot.in_flight == 0);
  CHECK(snapshot.owners == 1);
  CHECK(snapshot.waiting == 1);                        // ours
  CHECK(snapshot.dimensions.at(0).level == 1000 - 3);  // what was sent stays charged
}

TEST_CASE("a limiter that goes away gives back its slots and its tickets") {
  const TemporaryFolder folder;
  Member stays(folder.file("q"), rules(6000, 2));
  {
    Member goes(folder.file("q"), rules(6000, 2));
    CHECK(goes.take_all(Instant{1h}) == 2);
    CHECK(std::holds_alternative<MustWait>(goes.ask(Instant{1h}, {.id = 1})));
    CHECK(stays.backend->snapshot(Instant{1h}).waiting == 1);
  }
  const auto snapshot = stays.backend->snapshot(Instant{1h});
  CHECK(snapshot.in_flight == 0);
  CHECK(snapshot.waiting == 0);
  CHECK(snapshot.owners == 1);
}

TEST_CASE("numbers that are rubbish are an error that says what to do") {
  const TemporaryFolder folder;
  const std::string path = folder.file("q");
  { Member member(path, rules(60)); }
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096 + 64);  // behind the header and the lock
    for (int i = 0; i < 20'000; ++i) file.put('\x5a');
  }
  const auto opened = SharedHost::open(path, rules(60));
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == ErrorCode::configuration);
  CHECK(opened.error().message.find("is damaged (its numbers)") != std::string::npos);
}

// --- Killed in the middle ------------------------------------------------------------------------

int steps_to_live = 0;
void count_down(const char*) {
  if (--steps_to_live == 0) ::raise(SIGKILL);
}

/// A life in a child process: takes a seat, takes and settles, has a ticket waiting, leaves. Tells
/// the number of grants and of settles that it knows of.
int live(const std::string& path, int steps, Pipe& told) {
  steps_to_live = steps;
  Member member(path, rules(6000, 2), count_down);
  Instant now{1h};
  for (int i = 0; i < 3; ++i) {
    const auto granted = member.ask(now);
    if (!std::holds_alternative<Granted>(granted)) return 1;
    told.send(1);
    member.backend->settle(now, std::get<Granted>(granted), {}, done);
    told.send(2);
  }
  (void)member.ask(now);
  (void)member.ask(now);
  if (!std::holds_alternative<MustWait>(member.ask(now, {.id = 9}))) return 2;
  told.send(3);
  return 0;
}

TEST_CASE("a process that is killed at any step of a change leaves nothing half done") {
  int survived_from = 0;
  for (int steps = 1; survived_from == 0; ++steps) {
    CAPTURE(steps);
    REQUIRE(steps < 200);
    const TemporaryFolder folder;
    const std::string path = folder.file("q");
    Pipe told;
    ChildProcess child([&] { return live(path, steps, told); });
    const int code = child.wait();
    if (code == 0) survived_from = steps;
    CHECK((code == 0 || code == -SIGKILL));
    told.send(0);
    int granted = 0;
    int settled = 0;
    bool waited = false;
    for (int what = told.receive(); what != 0; what = told.receive()) {
      if (what == 1) ++granted;
      if (what == 2) ++settled;
      if (what == 3) waited = true;
    }
    Member heir(path, rules(6000, 2));
    const Instant now{1h};
    const auto snapshot = heir.backend->snapshot(now);
    // Each change was made as a whole, at most one more than was told of.
    const auto known = static_cast<std::uint64_t>(waited ? 5 : granted);
    CHECK(snapshot.granted >= known);
    CHECK(snapshot.granted <= known + (granted == 3 && settled == 3 && !waited ? 2 : 1));
    CHECK(snapshot.dimensions.at(0).level ==
          1000 - static_cast<std::int64_t>(snapshot.granted));  // charged as often as granted
    CHECK(snapshot.in_flight == 0);                             // nobody who could settle is left
    CHECK(snapshot.waiting == 0);
    CHECK(snapshot.owners == 1);
    CHECK(heir.take_all(now) == 2);
    CHECK(heir.backend->snapshot(now).in_flight == 2);
  }
  CHECK(survived_from > 30);
}

TEST_CASE("a process that is killed with the lock does not stop those who wait for it") {
  const TemporaryFolder folder;
  const std::string path = folder.file("q");
  Member stays(path, rules(6000, 2));
  for (int steps = 1; steps < 20; ++steps) {
    Pipe told;
    ChildProcess child([&] { return live(path, steps, told); });
    child.wait();
    const Instant now = Instant{2h} + steps * 1h;
    const auto granted = stays.ask(now);
    CHECK(std::holds_alternative<Granted>(granted));
    stays.backend->settle(now, std::get<Granted>(granted), {}, done);
    CHECK(stays.backend->snapshot(now).in_flight == 0);
  }
}

}  // namespace
}  // namespace moderato
