#include <doctest/doctest.h>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

/// A journal that a process wrote which died before its `records`-th record.
class Dying final : public Journal {
 public:
  Dying(std::shared_ptr<MemoryJournal> journal, std::size_t records)
      : journal_(std::move(journal)), left_(records) {}
  Result<void> append(std::string_view run, const EffectRecord& record) override {
    if (left_ == 0) return fail(ErrorCode::storage, "dead");
    --left_;
    return journal_->append(run, record);
  }
  Result<std::vector<EffectRecord>> read(std::string_view run) override {
    return journal_->read(run);
  }

 private:
  std::shared_ptr<MemoryJournal> journal_;
  std::size_t left_;
};

struct World {
  std::shared_ptr<MemoryJournal> journal = std::make_shared<MemoryJournal>();
  bool idempotent = false;
  int paid = 0;
  int sent_letters = 0;

  ChatResult chat(SessionOptions options) {
    Simulation world;
    options.id = "run";
    if (!options.journal) options.journal = journal;
    Session session(world, options);
    const Model model =
        world.model(scripted([&](const ModelRequest& request) -> Result<ModelReply> {
                      ++paid;
                      if (request.messages.size() < 3)
                        return ModelReply{.message = calls("send", "{}")};
                      const auto& last = **request.messages.back();
                      return ModelReply{.message = Message::assistant("Told: " + last.text())};
                    }),
                    {.limiter = unlimited()});
    const Tool send = tool(
        "send", "sends a letter", [&] { return ++sent_letters, std::string("sent"); },
        ToolOptions{.idempotent = idempotent});
    const AssistantAgent clerk({.name = "clerk", .model = model, .tools = {send}});
    const UserProxyAgent user({.name = "user", .human_input_mode = HumanInputMode::never});
    return user.initiate_chat(clerk, "Send it.", {.max_turns = 2, .session = &session});
  }

  /// Dies with the tool started and not finished: start, chat, call (2), tool (1).
  void die_in_the_tool() {
    chat({.journal = std::make_shared<Dying>(journal, 5)});
    CHECK(paid == 1);
    CHECK(sent_letters == 1);
  }
  ChatResult resume(InterruptedTools choice) {
    return chat({.journal_mode = JournalMode::resume, .interrupted_tools = choice});
  }
};

}  // namespace

TEST_CASE("a tool that was interrupted ends the resumed chat, and is run when somebody says so") {
  World world;
  world.die_in_the_tool();
  const ChatResult stopped = world.resume(InterruptedTools::stop);
  CHECK(stopped.stop.reason == StopReason::tool_error);
  CHECK(stopped.stop.error->code == ErrorCode::interrupted);
  CHECK(stopped.stop.detail.find("send({})") != std::string::npos);
  CHECK(stopped.transcript.size() == 2);
  CHECK(world.sent_letters == 1);
  CHECK(world.paid == 1);

  const ChatResult resumed = world.resume(InterruptedTools::run_again);
  CHECK((*resumed.transcript.back().message)->text() == "Told: sent");
  CHECK(world.sent_letters == 2);
  CHECK(world.paid == 2);
}

TEST_CASE("the model may be told that a tool was interrupted") {
  World world;
  world.die_in_the_tool();
  const ChatResult resumed = world.resume(InterruptedTools::tell_model);
  const std::string text = (*resumed.transcript.back().message)->text();
  CHECK(text.find("not known whether") != std::string::npos);
  CHECK(world.sent_letters == 1);
  // It is recorded: another process is told the same.
  CHECK(world.resume(InterruptedTools::stop).stop.reason == StopReason::max_turns);
}

TEST_CASE("an idempotent tool that was interrupted is run again") {
  World world;
  world.idempotent = true;
  world.die_in_the_tool();
  const ChatResult resumed = world.resume(InterruptedTools::stop);
  CHECK(resumed.stop.reason == StopReason::max_turns);
  CHECK(world.sent_letters == 2);
}

TEST_CASE("wherever a chat dies, the resumed one is like the one that was not interrupted") {
  World whole;
  whole.idempotent = true;
  const ChatResult expected = whole.chat({});
  CHECK(whole.paid == 2);
  const std::size_t records = whole.journal->read("run")->size();
  CHECK(records == 8);
  for (std::size_t alive = 0; alive < records; ++alive) {
    CAPTURE(alive);
    World world;
    world.idempotent = true;
    // Without even the start there is no session.
    if (alive > 0) world.chat({.journal = std::make_shared<Dying>(world.journal, alive)});
    const ChatResult resumed = world.resume(InterruptedTools::stop);
    CHECK(spoken(resumed.transcript) == spoken(expected.transcript));
    CHECK(resumed.stop == expected.stop);
    CHECK(resumed.calls == expected.calls);
    CHECK(resumed.usage == expected.usage);
    CHECK(world.paid <= 3);
  }
}

TEST_CASE("a run goes by the time that it was alive, wherever the clocks of its lives stand") {
  // Each word takes two seconds and the chat may take nine; each life begins at another time.
  const auto live = [](const std::shared_ptr<Journal>& journal, Duration clock, JournalMode mode) {
    Simulation world;
    world.run_for(clock);
    Session session(world, {.id = "run", .journal = journal, .journal_mode = mode});
    const Model model = world.model(
        scripted([](const ModelRequest& request) -> Result<ModelReply> {
          sleep_for(std::chrono::seconds(2));
          return ModelReply{.message = Message::assistant(std::to_string(request.messages.size()))};
        }),
        {.limiter = unlimited()});
    const AssistantAgent clerk({.name = "clerk", .model = model});
    return quiet_user("go on", 100)
        .initiate_chat(clerk, "Count.",
                       {.termination = elapsed(std::chrono::seconds(9)), .session = &session});
  };
  const auto whole = std::make_shared<MemoryJournal>();
  const ChatResult expected = live(whole, {}, JournalMode::record);
  CHECK(expected.stop.reason == StopReason::deadline);
  const std::size_t records = whole->read("run")->size();
  const std::chrono::hours far(24 * 365 * 10);
  for (const auto& [first, second] : {std::pair<Duration, Duration>(far, {}), {{}, far}}) {
    for (std::size_t alive = 1; alive < records; ++alive) {
      CAPTURE(alive);
      const auto journal = std::make_shared<MemoryJournal>();
      live(std::make_shared<Dying>(journal, alive), first, JournalMode::record);
      const ChatResult resumed = live(journal, second, JournalMode::resume);
      CHECK(spoken(resumed.transcript) == spoken(expected.transcript));
      CHECK(resumed.stop == expected.stop);
      CHECK(resumed.transcript.back().at == expected.transcript.back().at);
    }
  }
}

TEST_CASE("what a call cost that a stop broke off counts when it is made again") {
  const auto journal = std::make_shared<MemoryJournal>();
  const auto budget_after = [&](JournalMode mode, std::int64_t input, bool stopped) {
    Simulation world;
    std::stop_source stop;
    const auto budget = TokenBudget::make(10'000);
    Session session(world, {.id = "run",
                            .stop = stop.get_token(),
                            .budget = budget,
                            .journal = journal,
                            .journal_mode = mode});
    const Model model =
        world.model(scripted([&](const ModelRequest&) -> Result<ModelReply> {
                      if (stopped) {
                        stop.request_stop();
                        return fail(ErrorCode::cancelled, "cancelled");  // it had been sent
                      }
                      return ModelReply{
                          .message = Message::assistant("Yes."),
                          .usage = {.input = input, .output = 1, .source = UsageSource::measured}};
                    }),
                    {.limiter = unlimited()});
    const AssistantAgent clerk({.name = "clerk", .model = model});
    const UserProxyAgent user({.name = "user", .human_input_mode = HumanInputMode::never});
    const ChatResult chat = world.block_on(
        [&] { return user.initiate_chat(clerk, "So?", {.max_turns = 1, .session = &session}); });
    if (stopped) CHECK(chat.stop.reason == StopReason::cancelled);
    if (!stopped) CHECK(chat.stop.reason == StopReason::max_turns);
    return budget->spent();
  };
  const std::int64_t stopped = budget_after(JournalMode::record, 100, true);
  CHECK(stopped > 0);
  CHECK(budget_after(JournalMode::resume, 100, false) == stopped + 101);
  CHECK(budget_after(JournalMode::resume, 100, false) == stopped + 101);
  CHECK(budget_after(JournalMode::replay, 100, false) == stopped + 101);
}
