#include <moderato/core/effect.hpp>

#include <doctest/doctest.h>

#include <moderato/core/session.hpp>
#include <moderato/core/simulation.hpp>

namespace moderato {
namespace {

using namespace std::chrono_literals;

/// One effect with a text as its request and a text as its result.
Result<std::string> effect(EffectLog& log, std::string_view name, const std::string& request,
                           const std::function<std::string()>& perform) {
  return log.effect<std::string>(
      EffectKind::tool_result, name, [&] { return request; }, perform,
      [](const std::string& text) { return Json(text); },
      [](const Json& json) -> Result<std::string> { return json.get<std::string>(); });
}

std::string must_not_run() {
  FAIL("a recorded effect was performed again");
  return {};
}

struct Recorded {
  std::shared_ptr<MemoryJournal> journal = std::make_shared<MemoryJournal>();
  std::uint64_t random = 0;
  Duration time{};

  Recorded() {
    Simulation world;
    world.block_on([&] {
      Session session(world, {.id = "run", .journal = journal});
      EffectLog& log = session.effects();
      random = log.random();
      CHECK(effect(log, "a", "1", [] { return "one"; }) == "one");
      CHECK(effect(log, "b", "2", [] {
              sleep_for(5s);
              return "two";
            }) == "two");
      time = log.session_time();
    });
  }
};

TEST_CASE("a replay gives back the recorded results, random numbers and times") {
  const Recorded recorded;
  Simulation world({.seed = 99});
  Session session(world,
                  {.id = "run", .journal = recorded.journal, .journal_mode = JournalMode::replay});
  EffectLog& log = session.effects();
  CHECK(log.replaying());
  CHECK(log.random() == recorded.random);
  CHECK(effect(log, "a", "1", must_not_run) == "one");
  CHECK(effect(log, "b", "2", must_not_run) == "two");
  CHECK(log.session_time() == recorded.time);
  CHECK(recorded.time == 5s);
  CHECK_FALSE(log.replaying());
}

TEST_CASE("a replay stops at the first effect that differs and shows both sides") {
  const Recorded recorded;
  Simulation world;
  Session session(world,
                  {.id = "run", .journal = recorded.journal, .journal_mode = JournalMode::replay});
  CHECK(effect(session.effects(), "a", "1", must_not_run) == "one");
  const auto differs = effect(session.effects(), "b", "changed", must_not_run);
  REQUIRE_FALSE(differs.has_value());
  CHECK(differs.error().code == ErrorCode::replay_mismatch);
  CHECK(differs.error().message.find("step 2") != std::string::npos);
  CHECK(differs.error().message.find("changed") != std::string::npos);
}

TEST_CASE("a replay that goes beyond its recording is a mismatch, a resumed run goes on live") {
  const Recorded recorded;
  for (const JournalMode mode : {JournalMode::replay, JournalMode::resume}) {
    Simulation world;
    Session session(world, {.id = "run", .journal = recorded.journal, .journal_mode = mode});
    (void)effect(session.effects(), "a", "1", must_not_run);
    (void)effect(session.effects(), "b", "2", must_not_run);
    const auto next = effect(session.effects(), "c", "3", [] { return "three"; });
    CHECK(next.has_value() == (mode == JournalMode::resume));
  }
}

TEST_CASE("effects that overlap keep their steps in a replay") {
  const auto journal = std::make_shared<MemoryJournal>();
  const auto run = [&](JournalMode mode) {
    Simulation world;
    Session session(world, {.id = "run", .journal = journal, .journal_mode = mode});
    const std::vector<int> items{3, 1, 2};
    const auto results = world.parallel(items, {.max_in_flight = 3}, [&](int item) {
      return *effect(session.effects(), "sleeper", std::to_string(item), [&] {
        CHECK(mode == JournalMode::record);
        sleep_for(std::chrono::seconds(item));
        return std::to_string(item);
      });
    });
    CHECK(session.effects().session_time() == 3s);
    return results;
  };
  const auto recorded = run(JournalMode::record);
  CHECK(recorded == std::vector<std::string>{"3", "1", "2"});
  CHECK(run(JournalMode::replay) == recorded);
}

TEST_CASE("an external stop is replayed where it was seen") {
  const auto journal = std::make_shared<MemoryJournal>();
  Simulation world;
  {
    Session session(world, {.id = "run", .journal = journal});
    (void)effect(session.effects(), "a", "1", [] { return "one"; });
    CHECK_FALSE(session.effects().replayed_stop());
    CHECK(session.effects().record_stop("cancelled").has_value());
  }
  Session session(world, {.id = "run", .journal = journal, .journal_mode = JournalMode::replay});
  CHECK_FALSE(session.effects().replayed_stop());
  (void)effect(session.effects(), "a", "1", must_not_run);
  CHECK(session.effects().replayed_stop() == "cancelled");
}

TEST_CASE("a replay that is stopped from outside leaves its recording alone") {
  const Recorded recorded;
  Simulation world;
  Session session(world,
                  {.id = "run", .journal = recorded.journal, .journal_mode = JournalMode::replay});
  (void)effect(session.effects(), "a", "1", must_not_run);
  (void)effect(session.effects(), "b", "2", must_not_run);
  CHECK(session.effects().record_stop("cancelled").has_value());
  CHECK(recorded.journal->read("run")->size() == 5);
}

TEST_CASE("a resumed run counts its time from where the recording ended") {
  const Recorded recorded;
  Simulation world;
  world.block_on([&] {
    sleep_for(1h);
    Session session(
        world, {.id = "run", .journal = recorded.journal, .journal_mode = JournalMode::resume});
    (void)effect(session.effects(), "a", "1", must_not_run);
    (void)effect(session.effects(), "b", "2", must_not_run);
    (void)effect(session.effects(), "c", "3", [] {
      sleep_for(2s);
      return "three";
    });
    CHECK(session.effects().session_time() == 7s);
  });
}

TEST_CASE("an effect that was under way when the run ended is performed on resuming") {
  const auto journal = std::make_shared<MemoryJournal>();
  const Recorded recorded;
  const auto records = *recorded.journal->read("run");
  for (const EffectRecord& record : records) {
    if (record.step == 2 && record.phase == EffectRecord::Phase::finished) continue;
    CHECK(journal->append("run", record).has_value());
  }
  for (const JournalMode mode : {JournalMode::replay, JournalMode::resume}) {
    Simulation world;
    Session session(world, {.id = "run", .journal = journal, .journal_mode = mode});
    (void)effect(session.effects(), "a", "1", must_not_run);
    const auto again = effect(session.effects(), "b", "2", [] { return "again"; });
    CHECK(again.has_value() == (mode == JournalMode::resume));
  }
}

TEST_CASE("every effect is announced before it is performed") {
  const Recorded recorded;
  const auto records = *recorded.journal->read("run");
  REQUIRE(records.size() == 5);
  CHECK(records[0].kind == EffectKind::start);  // nothing is performed for it
  CHECK(records[0].phase == EffectRecord::Phase::finished);
  for (std::size_t i = 1; i < records.size(); ++i) {
    CHECK(records[i].step == (i + 1) / 2);
    CHECK((records[i].phase == EffectRecord::Phase::started) == (i % 2 == 1));
  }
}

TEST_CASE(
    "recording over an existing run and replaying an unknown one are refused with the reason") {
  const Recorded recorded;
  Simulation world;
  CHECK_THROWS_WITH_AS(Session(world, {.id = "run", .journal = recorded.journal}),
                       doctest::Contains("already in the journal"), std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      Session(world,
              {.id = "no", .journal = recorded.journal, .journal_mode = JournalMode::replay}),
      doctest::Contains("not in the journal"), std::invalid_argument);
}

TEST_CASE("a damaged record is a storage error that says where") {
  const Recorded recorded;
  auto records = *recorded.journal->read("run");
  std::string payload;
  SUBCASE("half a text") {
    payload = "{\"half";
  }
  SUBCASE("a value of another shape") {
    payload = "[7]";
  }
  const auto damaged = std::make_shared<MemoryJournal>();
  for (EffectRecord& record : records) {
    if (record.step == 1) record.payload = record.payload.empty() ? "" : payload;
    CHECK(damaged->append("run", record).has_value());
  }
  Simulation world;
  Session session(world, {.id = "run", .journal = damaged, .journal_mode = JournalMode::replay});
  const auto read = effect(session.effects(), "a", "1", must_not_run);
  REQUIRE_FALSE(read.has_value());
  CHECK(read.error().code == ErrorCode::storage);
  CHECK(read.error().message.find("run \"run\", step 1") != std::string::npos);
}

/// A run that ended with these records behind its start and one reply.
std::shared_ptr<MemoryJournal> ended_with(const std::vector<EffectRecord>& records) {
  const auto journal = std::make_shared<MemoryJournal>();
  Simulation world;
  Session session(world, {.id = "run", .journal = journal});
  (void)effect(session.effects(), "model", "1", [] { return "call both"; });
  for (const EffectRecord& record : records) (void)journal->append("run", record);
  return journal;
}
EffectRecord started(std::uint64_t step, EffectKind kind, Duration at) {
  return {.step = step, .phase = EffectRecord::Phase::started, .kind = kind, .name = "x", .at = at};
}
EffectRecord broken(std::uint64_t step, EffectKind kind, Duration at, const std::string& code) {
  EffectRecord record = started(step, kind, at);
  record.phase = EffectRecord::Phase::finished;
  record.payload = R"({"error": {"code": ")" + code + R"("}, "spent": {"attempts": 1}})";
  return record;
}
/// The steps of what a resumed run finds to have been interrupted.
std::vector<std::uint64_t> interrupted_of(const std::shared_ptr<Journal>& journal) {
  Simulation world;
  Session session(world, {.id = "run", .journal = journal, .journal_mode = JournalMode::resume});
  std::vector<std::uint64_t> steps;
  for (const EffectRecord& record : session.effects().interrupted()) steps.push_back(record.step);
  return steps;
}

TEST_CASE("all tools that a stop broke off are forgotten, and those that had ended are not") {
  constexpr EffectKind tool = EffectKind::tool_result;
  EffectRecord good = broken(4, tool, 2s, "");
  good.payload = R"("fine")";
  const EffectRecord stop = broken(5, EffectKind::external_stop, 3s, "cancelled");
  CHECK(interrupted_of(ended_with({started(2, tool, 1s), started(3, tool, 1s), started(4, tool, 1s),
                                   good, broken(2, tool, 3s, "cancelled"),
                                   broken(3, tool, 3s, "cancelled"), stop})) ==
        std::vector<std::uint64_t>{2, 3});
  // And when the resumed process dies with them under way again.
  CHECK(interrupted_of(ended_with({started(2, tool, 1s), broken(2, tool, 3s, "cancelled"),
                                   broken(3, EffectKind::external_stop, 3s, "cancelled"),
                                   started(2, tool, 4s), started(3, tool, 4s)})) ==
        std::vector<std::uint64_t>{2, 3});
}

TEST_CASE("a run that ended because a model could not be reached goes on with that call") {
  constexpr EffectKind reply = EffectKind::model_reply;
  CHECK(interrupted_of(ended_with({started(2, reply, 1s), broken(2, reply, 2s, "connection")})) ==
        std::vector<std::uint64_t>{2});
  // Not when it had gone on itself, as with another model.
  EffectRecord good = broken(3, reply, 4s, "");
  good.payload = R"({"reply": {}})";
  CHECK(interrupted_of(ended_with({started(2, reply, 1s), broken(2, reply, 2s, "connection"),
                                   started(3, reply, 3s), good}))
            .empty());
}

}  // namespace
}  // namespace moderato
