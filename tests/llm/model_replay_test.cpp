#include <doctest/doctest.h>

#include <llm/fake_provider.hpp>
#include <moderato/core/effect.hpp>
#include <moderato/core/simulation.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/llm/model_effect.hpp>

using namespace moderato;
using namespace moderato::test;
using namespace std::chrono_literals;

namespace {

/// One run of the same two calls, recorded or replayed.
struct Run {
  Run(const std::shared_ptr<Journal>& journal, JournalMode mode, const FakeProvider& provider,
      const ModelRequest& first = question("one")) {
    Simulation simulation({.ledger = ledger});
    Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
    auto effects = EffectLog::open(journal, "run", mode, simulation.clock());
    REQUIRE(effects);
    const CallContext context{
        .agent = "a", .budget = budget, .totals = &totals, .effects = effects->get()};
    ModelRequest request = first;
    request.on_delta = [&](std::string_view text) { heard += text; };
    replies.push_back(model.complete(request, context));
    replies.push_back(model.complete(question("two"), context));
    granted = model.limiter().snapshot(simulation.clock().now()).granted;
    bound = model.prompt_upper_bound(first);
  }
  std::shared_ptr<MemoryLedger> ledger = std::make_shared<MemoryLedger>();
  std::shared_ptr<TokenBudget> budget = TokenBudget::make(50'000);
  CallTotals totals;
  std::vector<Result<ModelReply>> replies;
  std::string heard;
  std::uint64_t granted = 0;
  std::int64_t bound = 0;
};

FakeProvider flaky() {
  return FakeProvider([n = 0](const ProviderRequest& request, const CallContext&) mutable {
    sleep_for(1s);
    switch (n++) {
      case 0:
        return failure(ErrorCode::timeout);
      case 1:
        request.on_delta("hel");
        request.on_delta("lo");
        return answer("hello");
      default:
        return failure(ErrorCode::authentication, 401);
    }
  });
}

}  // namespace

TEST_CASE(
    "a replay gives the recorded replies and errors, and touches neither limiter nor provider") {
  const auto journal = std::make_shared<MemoryJournal>();
  const Run recorded(journal, JournalMode::record, flaky());
  REQUIRE(recorded.replies[0]);
  REQUIRE(!recorded.replies[1]);
  CHECK(recorded.granted == 3);

  const FakeProvider untouched({answer("never said")});
  const Run replayed(journal, JournalMode::replay, untouched);
  CHECK(untouched.sent().empty());
  CHECK(replayed.granted == 0);
  CHECK(replayed.ledger->size() == 0);
  REQUIRE(replayed.replies[0]);
  CHECK(replayed.replies[0]->message == recorded.replies[0]->message);
  CHECK(replayed.replies[0]->usage == recorded.replies[0]->usage);
  CHECK(replayed.replies[0]->attempts == 2);
  CHECK(replayed.replies[0]->latency == 1s);
  REQUIRE(!replayed.replies[1]);
  CHECK(replayed.replies[1].error() == recorded.replies[1].error());
  CHECK(recorded.heard == "hello");
  CHECK(replayed.heard == "hello");
}

TEST_CASE("a replay charges the budget and the totals as the recorded run did") {
  const auto journal = std::make_shared<MemoryJournal>();
  const Run recorded(journal, JournalMode::record, flaky());
  const Run replayed(journal, JournalMode::replay, FakeProvider({answer("never said")}));
  CHECK(recorded.budget->spent() > 15);  // the attempt that timed out was charged, too
  CHECK(replayed.budget->spent() == recorded.budget->spent());
  const auto a = recorded.totals.snapshot();
  const auto b = replayed.totals.snapshot();
  CHECK(b.calls == a.calls);
  CHECK(b.attempts == a.attempts);
  CHECK(b.usage == a.usage);
  CHECK(b.queue_wait == a.queue_wait);
  // What was measured is known again, so that a resumed run has the same bounds.
  CHECK(replayed.bound == recorded.bound);
}

TEST_CASE("a request that differs from the recorded one is a mismatch") {
  const auto journal = std::make_shared<MemoryJournal>();
  const Run recorded(journal, JournalMode::record, flaky());
  const FakeProvider untouched({answer("never said")});
  ModelRequest changed = question("one");
  SUBCASE("other words") {
    changed = question("1");
  }
  SUBCASE("another setting") {
    changed.sampling.temperature = 0.5;
  }
  SUBCASE("other tools") {
    changed.tools = std::make_shared<const std::vector<ToolDefinition>>(
        std::vector<ToolDefinition>{{.name = "f"}});
  }
  const Run replayed(journal, JournalMode::replay, untouched, changed);
  REQUIRE(!replayed.replies[0]);
  CHECK(replayed.replies[0].error().code == ErrorCode::replay_mismatch);
  CHECK(untouched.sent().empty());
}

TEST_CASE("a mismatch shows both sides in words") {
  const auto journal = std::make_shared<MemoryJournal>();
  const Run recorded(journal, JournalMode::record, flaky());
  const Run replayed(journal, JournalMode::replay, flaky(), question("something else"));
  REQUIRE(!replayed.replies[0]);
  const std::string& words = replayed.replies[0].error().message;
  CHECK(words.find("1 message, the last from user: one), now") != std::string::npos);
  CHECK(words.find("1 message, the last from user: something else)") != std::string::npos);
}

TEST_CASE("what a journal keeps of a call comes back as it was") {
  ModelEffect effect;
  effect.spent = {.calls = 1,
                  .attempts = 2,
                  .usage = {.input = 3,
                            .output = 4,
                            .cached_input = 1,
                            .reasoning = 2,
                            .source = UsageSource::reserved},
                  .cost = 0.1,
                  .queue_wait = 5ms};
  SUBCASE("a reply") {
    ModelReply reply{.message = {.role = Role::assistant,
                                 .content = nullptr,
                                 .tool_calls = {{"id", "f", "{\"a\":1}"}},
                                 .refusal = "no"},
                     .finish_reason = "tool_calls",
                     .usage = effect.spent.usage,
                     .cost = 0.3,
                     .model = "m",
                     .request_id = "r",
                     .attempts = 2,
                     .queue_wait = 5ms,
                     .latency = 7ns,
                     .time_to_first_token = 1ns};
    effect.reply = reply;
  }
  SUBCASE("an error") {
    effect.reply = fail({.code = ErrorCode::rate_limited,
                         .message = "later",
                         .retry_after = 3s,
                         .http_status = 429,
                         .provider_code = "c",
                         .request_id = "r"});
  }
  const Json json = encode_model_effect(effect);
  const auto back = decode_model_effect(Json::parse(dump_json(json)));
  REQUIRE(back);
  CHECK(dump_json(encode_model_effect(*back)) == dump_json(json));
  if (!effect.reply) {
    CHECK(back->reply.error() == effect.reply.error());
  } else {
    CHECK(back->reply->message == effect.reply->message);
    CHECK(back->reply->time_to_first_token == effect.reply->time_to_first_token);
  }
  CHECK(decode_model_effect(Json{{"spent", 1}}).error().code == ErrorCode::storage);
}

TEST_CASE("a replayed final answer uses up what was set aside for it, as in the run") {
  const auto journal = std::make_shared<MemoryJournal>();
  const auto left_after = [&](JournalMode mode) {
    Simulation simulation;
    FakeProvider provider({answer("bye")});
    Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
    auto effects = EffectLog::open(journal, "run", mode, simulation.clock());
    REQUIRE(effects);
    const auto budget = TokenBudget::make({.total = 10'000, .final_answer_reserve = 4'000});
    REQUIRE(model.complete(
        question("end"),
        {.agent = "a", .budget = budget, .final_answer = true, .effects = effects->get()}));
    return budget->left();
  };
  CHECK(left_after(JournalMode::record) == 10'000 - 15);
  CHECK(left_after(JournalMode::replay) == 10'000 - 15);
}
