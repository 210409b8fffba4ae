#include <doctest/doctest.h>

#include <chrono>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;
using namespace std::chrono_literals;

namespace {

struct Counters {
  int models = 0;
  int tools = 0;
  int humans = 0;
};

// A talk with every kind of effect: two models, a tool, a human, and a summary by a model.
ChatResult talk(const std::shared_ptr<Journal>& journal, JournalMode mode, Counters& count,
                ChatOptions options = {}) {
  Simulation world({.seed = mode == JournalMode::record ? 1U : 99U});
  Session session(world, {.id = "run", .journal = journal, .journal_mode = mode});
  const Model model = world.model(
      scripted([&](const ModelRequest&) -> Result<ModelReply> {
        sleep_for(2s);
        if (++count.models == 2) {
          return ModelReply{.message = calls("dice", "{}")};
        }
        return ModelReply{.message = Message::assistant("word " + std::to_string(count.models))};
      }),
      {.limiter = unlimited()});
  const Tool dice = tool("dice", "throws a die", [&] { return ++count.tools + 3; });
  AssistantAgent alice({.name = "alice", .model = model, .tools = {dice}});
  UserProxyAgent user({.name = "user",
                       .human_input_mode = HumanInputMode::always,
                       .default_auto_reply = "automatic",
                       .human_input = HumanInput([&](const HumanPrompt&) -> std::string {
                         return ++count.humans == 3 ? "typed" : "";
                       })});
  options.max_turns = options.max_turns.value_or(4);
  options.session = &session;
  return user.initiate_chat(alice, "hello", options);
}

Lines timed(const Transcript& transcript) {
  Lines lines;
  for (const TranscriptEntry& entry : transcript) {
    lines.push_back(std::to_string(entry.at.time_since_epoch() / 1s) + " " + entry.speaker + ": " +
                    (*entry.message)->text());
  }
  return lines;
}

}  // namespace

TEST_CASE("a replay gives the same transcript, and asks no model, tool or human") {
  const auto journal = std::make_shared<MemoryJournal>();
  Counters live;
  const ChatOptions options{.summary_method = reflection_with_llm()};
  const ChatResult first = talk(journal, JournalMode::record, live, options);
  CHECK(live.models == 5);
  CHECK(live.tools == 1);
  CHECK(live.humans == 3);

  Counters replayed;
  const ChatResult second = talk(journal, JournalMode::replay, replayed, options);
  CHECK(replayed.models + replayed.tools + replayed.humans == 0);
  CHECK(timed(second.transcript) == timed(first.transcript));
  CHECK(second.summary == first.summary);
  CHECK(second.stop == first.stop);
  CHECK(second.human_inputs == first.human_inputs);
}

TEST_CASE("a stop from outside is replayed where it was seen") {
  const auto journal = std::make_shared<MemoryJournal>();
  Counters live;
  std::stop_source stop;
  const ChatResult first = talk(journal, JournalMode::record, live,
                                {.observer = Observer([&](const Event& event) {
                                   if (const auto* added = std::get_if<MessageAdded>(&event.data)) {
                                     if (added->entry.kind == MessageKind::tool_result)
                                       stop.request_stop();
                                   }
                                 }),
                                 .stop = stop.get_token()});
  CHECK(first.stop.reason == StopReason::cancelled);
  Counters replayed;
  const ChatResult second = talk(journal, JournalMode::replay, replayed);
  CHECK(second.stop.reason == StopReason::cancelled);
  CHECK(timed(second.transcript) == timed(first.transcript));
}

TEST_CASE("a stop that a resumed run forgot is forgotten in its replay, too") {
  const auto journal = std::make_shared<MemoryJournal>();
  std::stop_source stop;
  Counters counters;
  // Seen after the last reply: the resumed run has nothing left to do that would be recorded.
  const auto first = talk(journal, JournalMode::record, counters,
                          {.max_turns = 1,
                           .observer = Observer([&](const Event& event) {
                             const auto* added = std::get_if<MessageAdded>(&event.data);
                             if (added != nullptr && added->entry.speaker != "user") {
                               stop.request_stop();
                             }
                           }),
                           .stop = stop.get_token()});
  REQUIRE(first.stop.reason == StopReason::cancelled);
  Counters resumed;
  const ChatResult second = talk(journal, JournalMode::resume, resumed, {.max_turns = 1});
  CHECK(second.stop.reason == StopReason::max_turns);
  CHECK(resumed.models == 0);
  Counters replayed;
  const ChatResult third = talk(journal, JournalMode::replay, replayed, {.max_turns = 1});
  CHECK(third.stop == second.stop);
  const ChatResult fourth = talk(journal, JournalMode::resume, replayed, {.max_turns = 1});
  CHECK(fourth.stop == second.stop);
  CHECK(replayed.models == 0);
}

TEST_CASE("a condition on time fires in a replay where it fired in the recorded run") {
  const auto journal = std::make_shared<MemoryJournal>();
  Counters live;
  const ChatOptions options{.termination = elapsed(5s)};
  const ChatResult first = talk(journal, JournalMode::record, live, options);
  CHECK(first.stop.reason == StopReason::deadline);
  Counters replayed;
  const ChatResult second = talk(journal, JournalMode::replay, replayed, options);
  CHECK(second.stop == first.stop);
  CHECK(timed(second.transcript) == timed(first.transcript));
}

TEST_CASE("a resumed chat repeats nothing that was paid for, and goes on live") {
  const auto journal = std::make_shared<MemoryJournal>();
  Counters live;
  talk(journal, JournalMode::record, live, {.max_turns = 2});
  CHECK(live.models == 2);
  Counters resumed;
  const ChatResult chat = talk(journal, JournalMode::resume, resumed, {.max_turns = 3});
  CHECK(resumed.models == 1);
  CHECK(resumed.tools == 1);
  CHECK(chat.transcript.size() == 6);
  CHECK(chat.calls == 3);
}

TEST_CASE("a journal gives the session in which a run goes on") {
  const auto journal = std::make_shared<MemoryJournal>();
  Simulation world;
  const AssistantAgent alice({.name = "alice", .model = says(world, {"one", "two"})});
  {
    Session session(world, {.id = "run", .journal = journal});
    quiet_user("more").initiate_chat(alice, "go", {.max_turns = 1, .session = &session});
  }
  auto resumed = journal->resume(world, "run", {.tenant = "acme"});
  REQUIRE(resumed.has_value());
  CHECK((*resumed)->id() == "run");
  CHECK((*resumed)->options().tenant == "acme");
  const ChatResult chat =
      quiet_user("more").initiate_chat(alice, "go", {.max_turns = 2, .session = resumed->get()});
  CHECK(spoken(chat.transcript) == Lines{"user: go", "alice: one", "user: more", "alice: two"});
  const auto unknown = journal->resume(world, "typo");
  REQUIRE_FALSE(unknown.has_value());
  CHECK(unknown.error().code == ErrorCode::configuration);
  CHECK(unknown.error().message == "run \"typo\" is not in the journal");
  MemoryJournal alone;
  CHECK(alone.append("run", {}).has_value());
  CHECK_FALSE(alone.resume(world, "run").has_value());
}

TEST_CASE("a replay of a changed program stops and names the step") {
  const auto journal = std::make_shared<MemoryJournal>();
  Counters live;
  talk(journal, JournalMode::record, live);
  Counters replayed;
  const ChatResult chat = talk(journal, JournalMode::replay, replayed, {.carryover = "more"});
  CHECK(chat.stop.reason == StopReason::replay_mismatch);
  CHECK(chat.stop.detail.find("step") != std::string::npos);
  CHECK(replayed.models == 0);
}

TEST_CASE("a condition that looks at a stop token is replayed from the recording, not the token") {
  const auto journal = std::make_shared<MemoryJournal>();
  std::stop_source stop;
  Counters live;
  const auto watched = [&](std::stop_token token) {
    return ChatOptions{.termination = external_stop(std::move(token)) | contains("never"),
                       .observer = Observer([&](const Event& event) {
                         const auto* added = std::get_if<MessageAdded>(&event.data);
                         if (added != nullptr && added->entry.kind == MessageKind::tool_result) {
                           stop.request_stop();
                         }
                       })};
  };
  const ChatResult first = talk(journal, JournalMode::record, live, watched(stop.get_token()));
  CHECK(first.stop.reason == StopReason::cancelled);
  CHECK(first.stop.rule == "external_stop");
  Counters replayed;
  const ChatResult second =  // the token is triggered from the start
      talk(journal, JournalMode::replay, replayed, watched(stop.get_token()));
  CHECK(second.stop == first.stop);
  CHECK(timed(second.transcript) == timed(first.transcript));
  const ChatResult third =  // and here never
      talk(journal, JournalMode::replay, replayed, watched(std::stop_source().get_token()));
  CHECK(third.stop == first.stop);
  CHECK(replayed.models == 0);
}

TEST_CASE("a replay charges what a tool's own model calls used, and makes none of them") {
  const auto journal = std::make_shared<MemoryJournal>();
  int asked = 0;
  const auto run = [&](JournalMode mode) {
    Simulation world;
    Session session(world, {.id = "run", .journal = journal, .journal_mode = mode});
    const Model inner = world.model(scripted([&](const ModelRequest&) -> Result<ModelReply> {
                                      ++asked;
                                      return ModelReply{.message = Message::assistant("inner")};
                                    }),
                                    {.limiter = unlimited()});
    const Tool asks = tool("ask", "asks a model", [&](const ToolContext& context) {
      return inner.complete({.messages = {store(Message::user("q"))}}, context.context)
          ->message.text();
    });
    AssistantAgent alice({.name = "alice",
                          .model = says(world, {calls("ask", "{}"), "TERMINATE"}),
                          .tools = {asks}});
    return quiet_user().initiate_chat(alice, "hello",
                                      {.token_budget = 50'000, .session = &session});
  };
  const ChatResult first = run(JournalMode::record);
  CHECK(asked == 1);
  CHECK(first.calls == 3);
  const ChatResult second = run(JournalMode::replay);
  CHECK(asked == 1);
  CHECK(second.calls == 3);
  CHECK(second.usage == first.usage);
  CHECK(second.stop == first.stop);
}
