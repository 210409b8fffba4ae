#include <doctest/doctest.h>

#include <array>
#include <latch>

#include <moderato/core/doctor/diagnosis.hpp>
#include <moderato/core/journal/sqlite_journal.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/core/session.hpp>
#include <moderato/core/simulation.hpp>
#include <support/temporary_folder.hpp>
#include <thread>

using moderato::test::TemporaryFolder;

namespace moderato {
namespace {

using namespace std::chrono_literals;
using Phase = EffectRecord::Phase;

std::shared_ptr<SqliteJournal> open(const std::string& path,
                                    Durability durability = Durability::process) {
  auto journal = SqliteJournal::open({.path = path, .durability = durability});
  REQUIRE_MESSAGE(journal.has_value(), journal.error().message);
  return *journal;
}

EffectRecord reply(std::uint64_t step, std::string text) {
  return {.step = step,
          .phase = Phase::finished,
          .kind = EffectKind::model_reply,
          .name = "alice",
          .digest = "d",
          .payload = std::move(text),
          .at = 5s + 1ns};
}

/// An effect of a session, "asked" of nobody.
Result<std::string> effect(EffectLog& log, const std::string& request,
                           const std::function<std::string()>& perform) {
  return log.effect<std::string>(
      EffectKind::tool_result, "tool", [&] { return request; }, perform,
      [](const std::string& text) { return Json(text); },
      [](const Json& json) -> Result<std::string> { return json.get<std::string>(); });
}

std::string must_not_run() {
  FAIL("a recorded effect was performed again");
  return {};
}

}  // namespace

TEST_CASE("records come back from the file as they were written, in their order") {
  const TemporaryFolder folder;
  const std::vector<EffectRecord> written{
      {.step = 1, .phase = Phase::started, .kind = EffectKind::model_reply, .name = "ä"},
      {.step = 2, .phase = Phase::started, .kind = EffectKind::tool_result, .digest = "x y"},
      {.step = 2, .kind = EffectKind::tool_result, .payload = std::string("a\0b", 3)},
      reply(1, std::string(100'000, 'x')),
  };
  {
    const auto journal = open(folder / "j.db");
    for (const EffectRecord& record : written) REQUIRE(journal->append("run", record));
    REQUIRE(journal->append("other", reply(1, "not this")));
    CHECK(*journal->read("run") == written);
  }
  const auto journal = open(folder / "j.db");
  CHECK(*journal->read("run") == written);
  CHECK(journal->read("nobody")->empty());
  const auto runs = journal->runs();
  REQUIRE(runs->size() == 2);
  CHECK(runs->front().id == "run");
  CHECK(runs->front().effects == 4);
}

TEST_CASE("a session that was recorded in a file is resumed by the next process") {
  const TemporaryFolder folder;
  std::uint64_t random = 0;
  {
    Simulation world;
    Session session(world, {.id = "run", .journal = open(folder / "j.db")});
    random = session.effects().random();
    CHECK(effect(session.effects(), "1", [] { return "one"; }) == "one");
  }
  Simulation world({.seed = 9});
  Session session(
      world, {.id = "run", .journal = open(folder / "j.db"), .journal_mode = JournalMode::resume});
  CHECK(session.effects().random() == random);
  CHECK(effect(session.effects(), "1", must_not_run) == "one");
  CHECK(effect(session.effects(), "2", [] { return "two"; }) == "two");
}

TEST_CASE("a run that one process has open is refused to another, which is told who has it") {
  const TemporaryFolder folder;
  Simulation world;
  const auto first = open(folder / "j.db");
  const auto second = open(folder / "j.db");
  auto session = std::make_unique<Session>(world, SessionOptions{.id = "run", .journal = first});
  for (const auto& journal : {first, second}) {
    const auto refused = EffectLog::open(journal, "run", JournalMode::resume, world.clock());
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == ErrorCode::configuration);
    CHECK(refused.error().message.find(fmt::format("process {} on", ::getpid())) !=
          std::string::npos);
  }
  // Reading what it has done so far disturbs nobody.
  CHECK(EffectLog::open(second, "run", JournalMode::replay, world.clock()).has_value());
  session.reset();
  CHECK(EffectLog::open(second, "run", JournalMode::resume, world.clock()).has_value());
}

TEST_CASE("a file that several open for the first time at once is made by one of them") {
  constexpr int openers = 4;
  for (int round = 0; round < 25; ++round) {
    const TemporaryFolder folder;
    std::latch start(openers);
    std::array<std::string, openers> errors;
    {
      std::vector<std::jthread> threads;
      for (std::string& error : errors) {
        threads.emplace_back([&] {
          start.arrive_and_wait();
          const auto journal = SqliteJournal::open({.path = folder / "j.db"});
          if (!journal) error = journal.error().message;
        });
      }
    }
    for (const std::string& error : errors) REQUIRE(error == "");
  }
}

TEST_CASE("two journals write to one file at once, and nothing is lost") {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& run) {
    const auto journal = open(folder / "j.db");
    for (std::uint64_t step = 1; step <= 200; ++step) {
      REQUIRE(journal->append(run, reply(step, run)));
    }
  };
  std::thread a([&] { write("a"); });
  std::thread b([&] { write("b"); });
  a.join();
  b.join();
  const auto journal = open(folder / "j.db");
  for (const char* run : {"a", "b"}) {
    const auto records = journal->read(run);
    REQUIRE(records->size() == 200);
    CHECK(records->back() == reply(200, run));
  }
}

TEST_CASE("a thousand sessions at once share their commits") {
  const TemporaryFolder folder;
  std::atomic<std::uint64_t> transactions{0};
  auto opened = SqliteJournal::open(
      {.path = folder / "j.db",
       .durability = Durability::process,
       .on_commit = [&](std::uint64_t number, bool) { transactions = number; }});
  REQUIRE(opened);
  Runtime runtime;
  std::vector<int> numbers(1000);
  for (int i = 0; i < 1000; ++i) numbers[static_cast<std::size_t>(i)] = i;
  runtime.parallel(numbers, {.max_in_flight = 1000}, [&](int number) {
    Session session(runtime, {.id = std::to_string(number), .journal = *opened});
    for (int step = 0; step < 3; ++step) {
      CHECK(effect(session.effects(), "q", [&] { return std::to_string(step); }).has_value());
    }
  });
  CHECK((*opened)->runs()->size() == 1000);
  CHECK((*opened)->read("999")->size() == 7);  // the start needs one record, an effect two
  CHECK(transactions < 2000);                  // for 8,000 records and claims
}

TEST_CASE("a commit does not block the loop") {
  const TemporaryFolder folder;
  std::atomic<bool> hold{true};
  auto opened = SqliteJournal::open(
      {.path = folder / "j.db", .on_commit = [&](std::uint64_t, bool committed) {
         if (!committed) hold.wait(true);
       }});
  REQUIRE(opened);
  Runtime runtime;
  auto writing = runtime.spawn([&] { return (*opened)->append("run", reply(1, "x")); });
  // The loop lives while the writer's thread is held.
  CHECK(runtime.spawn([] { return 7; }).join() == 7);
  CHECK_FALSE(writing.done());
  hold = false;
  hold.notify_all();
  CHECK(writing.join().has_value());
}

TEST_CASE("the ledger and the events are kept in the same file, in the order of the effects") {
  const TemporaryFolder folder;
  const auto journal = open(folder / "j.db");
  journal->ledger()->append({.session = "run",
                             .tenant = "acme",
                             .agent = "alice",
                             .purpose = Purpose::summary,
                             .model = "m",
                             .call = 3,
                             .attempt = 2,
                             .usage = {.input = 10, .output = 5, .source = UsageSource::measured},
                             .queue_wait = 1500ms,
                             .error = ErrorCode::rate_limited,
                             .http_status = 429,
                             .sent_at = WallTime(1'700'000'000s + 250ms),
                             .wait_reason = "tokens",
                             .retry_after = 2s,
                             .remaining_requests = 7});
  journal->ledger()->append({.agent = "outside"});
  const Observer observer = journal->observer();
  observer(Event{.session = "run", .data = ChatStarted{"a", "b"}});
  observer(Event{.session = "run", .data = TokenDelta{"a", "x"}});
  REQUIRE(journal->flush());
  const auto calls = journal->calls("run");
  REQUIRE(calls->size() == 1);
  const CallRecord& call = calls->front();
  CHECK(call.agent == "alice");
  CHECK(call.purpose == Purpose::summary);
  CHECK(call.usage.source == UsageSource::measured);
  CHECK(call.queue_wait == 1500ms);
  CHECK(call.error == ErrorCode::rate_limited);
  CHECK(call.sent_at == WallTime(1'700'000'000s + 250ms));
  CHECK(call.wait_reason == "tokens");
  CHECK(call.retry_after == 2s);
  CHECK(call.remaining_requests == 7);
  CHECK_FALSE(call.limit_tokens.has_value());
  CHECK(journal->calls()->size() == 2);
  const auto events = journal->events("run");
  REQUIRE(events->size() == 1);
  CHECK(events->front().at("event") == "chat_started");
}

TEST_CASE("the events of a resumed run are told once") {
  const TemporaryFolder folder;
  const auto journal = open(folder / "j.db");
  const Observer observer = journal->observer();
  const auto tell = [&](int count) {
    const auto claim = journal->claim("run");
    REQUIRE(claim);
    for (int i = 0; i < count; ++i) {
      observer(Event{.session = "run", .data = Warning{std::to_string(i)}});
    }
    REQUIRE(journal->flush());
  };
  tell(2);
  tell(3);  // again from the start, and one more
  tell(1);  // died early
  CHECK(journal->events("run")->size() == 3);
}

TEST_CASE("a run's calls and events come with those of the runs within it, in the order of time") {
  const TemporaryFolder folder;
  const auto journal = open(folder / "journal");
  const Observer watch = journal->observer();
  const auto tell = [&](const char* session, Duration at, EventData data) {
    REQUIRE(journal->append(session, {.step = 1, .name = "x"}).has_value());
    watch(Event{.at = Instant(at), .session = session, .data = std::move(data)});
    journal->ledger()->append({.session = session, .agent = session, .sent_at = WallTime(at)});
  };
  tell("team", 1s, CallSent{.agent = "planner"});
  tell("team2", 2s, CallSent{.agent = "stranger"});
  tell("team/writer.1", 2s, ToolFinished{.agent = "writer", .tool = "dig"});
  tell("team", 3s, Stopped{.stop = {.reason = StopReason::max_turns, .rule = "max_turns(1)"}});
  REQUIRE(journal->flush().has_value());
  std::vector<std::string> told;
  const auto events = journal->events("team");
  for (const Json& event : *events) told.push_back(event.at("event"));
  CHECK(told == std::vector<std::string>{"call_sent", "tool_finished", "stopped"});
  std::vector<std::string> callers;
  const auto calls = journal->calls("team");
  for (const CallRecord& call : *calls) callers.push_back(call.agent);
  CHECK(callers == std::vector<std::string>{"team", "team/writer.1", "team"});
  const auto history = case_history(*journal, {});
  REQUIRE(history.has_value());
  CHECK(history->calls.size() == 4);
  CHECK(history->tools.size() == 1);
  REQUIRE(history->ends.size() == 1);
  CHECK(history->ends.front().reason == StopReason::none);  // one turn was asked for
}

TEST_CASE("what a run needs to be made again is kept with it") {
  const TemporaryFolder folder;
  const auto journal = open(folder / "j.db");
  REQUIRE(journal->describe("run", Json{{"task", "x"}}));
  const auto runs = journal->runs();
  CHECK(runs->front().program == R"({"task":"x"})");
  CHECK(runs->front().epoch == 0);
}

}  // namespace moderato
