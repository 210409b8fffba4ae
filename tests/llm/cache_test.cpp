#include <doctest/doctest.h>

#include <stdexcept>

#include <fstream>

#include <llm/fake_provider.hpp>
#include <moderato/core/budget.hpp>
#include <moderato/core/effect.hpp>
#include <moderato/core/simulation.hpp>
#include <moderato/llm/cache/reply_cache.hpp>
#include <moderato/llm/model.hpp>
#include <support/temporary_folder.hpp>

using namespace moderato;
using namespace moderato::test;

namespace {

struct World {
  std::shared_ptr<MemoryLedger> ledger = std::make_shared<MemoryLedger>();
  std::vector<std::string> warnings;
  Observer note = Observer([this](const Event& event) {
    if (const auto* warning = std::get_if<Warning>(&event.data)) warnings.push_back(warning->text);
  });
  Simulation simulation{{.seed = 7, .observer = note, .ledger = ledger}};

  Model model(const FakeProvider& provider, ModelOptions options = {}) {
    options.limiter = unlimited();
    options.retry.max_attempts = 1;
    return simulation.model(provider.provider(), std::move(options));
  }
};

std::string text_of(const Result<ModelReply>& reply) {
  return reply ? std::string(reply->message.text()) : to_string(reply.error());
}

/// Says "answer 1", "answer 2", …
FakeProvider counting() {
  return FakeProvider([n = 0](const ProviderRequest&, const CallContext&) mutable {
    return answer("answer " + std::to_string(++n));
  });
}

}  // namespace

TEST_CASE("a request that was answered before is answered from the cache, and costs nothing") {
  World world;
  const FakeProvider provider = counting();
  const Model model =
      world.model(provider, {.price = Price{.input_per_million = 1e6}, .cache = memory_cache()});
  const auto budget = TokenBudget::make(10'000);
  CallTotals totals;
  const CallContext context{.budget = budget, .totals = &totals};
  const auto first = model.complete(question("same"), context);
  const auto second = model.complete(question("same"), context);
  REQUIRE(second);
  CHECK(text_of(first) == "answer 1");
  CHECK(text_of(second) == "answer 1");
  CHECK_FALSE(first->cached);
  CHECK(second->cached);
  CHECK(second->cost == 0.0);
  CHECK(second->attempts == 0);
  CHECK(second->usage.total() == 15);
  CHECK(provider.sent().size() == 1);
  CHECK(budget->spent() == 15);
  CHECK(totals.snapshot().calls == 1);
  REQUIRE(world.ledger->size() == 2);
  const CallRecord record = world.ledger->records()[1];
  CHECK(record.cached);
  CHECK(record.attempt == 0);
  CHECK(record.usage.total() == 0);
  const auto read_back = call_record_from_json(to_json(record));
  REQUIRE(read_back);
  CHECK(read_back->cached);
}

TEST_CASE("another text, another setting, another tool or another role is another request") {
  World world;
  const FakeProvider provider = counting();
  const Model model = world.model(provider, {.cache = memory_cache()});
  const auto ask = [&](const ModelRequest& request) { return text_of(model.complete(request)); };
  CHECK(ask(question("one")) == "answer 1");
  CHECK(ask(question("two")) == "answer 2");
  ModelRequest warm = question("one");
  warm.sampling.temperature = 0.5;
  CHECK(ask(warm) == "answer 3");
  ModelRequest with_tool = question("one");
  with_tool.tools = std::make_shared<const std::vector<ToolDefinition>>(
      std::vector<ToolDefinition>{{.name = "look"}});
  CHECK(ask(with_tool) == "answer 4");
  CHECK(ask({.messages = {store(Message::system("one"))}}) == "answer 5");
  Message named = Message::user("one");
  named.name = "ann";
  CHECK(ask({.messages = {store(std::move(named))}}) == "answer 6");
  CHECK(ask(question("one")) == "answer 1");
}

TEST_CASE("untyped-request: an absent setting and an empty list are one request, 0.0 another") {
  World world;
  const FakeProvider provider = counting();
  const Model model = world.model(provider, {.cache = memory_cache()});
  const auto ask = [&](const ModelRequest& request) { return text_of(model.complete(request)); };
  CHECK(ask(question("one")) == "answer 1");
  ModelRequest empty = question("one");
  empty.tools = std::make_shared<const std::vector<ToolDefinition>>();
  empty.sampling.stop = std::vector<std::string>();
  CHECK(ask(empty) == "answer 1");
  ModelRequest cold = question("one");
  cold.sampling.temperature = 0;
  CHECK(ask(cold) == "answer 2");
  cold.sampling.temperature = 0.0;
  CHECK(ask(cold) == "answer 2");
}

TEST_CASE("failures are not kept") {
  World world;
  const FakeProvider provider({failure(ErrorCode::server_error, 500), answer("fine")});
  const Model model = world.model(provider, {.cache = memory_cache()});
  CHECK_FALSE(model.complete(question("same")));
  CHECK(text_of(model.complete(question("same"))) == "fine");
  CHECK(provider.sent().size() == 2);
}

TEST_CASE("the cache of the context goes before the model's own") {
  World world;
  const FakeProvider provider = counting();
  const auto of_chat = memory_cache();
  const Model model = world.model(provider, {.cache = memory_cache()});
  CHECK(text_of(model.complete(question("same"))) == "answer 1");
  CHECK(text_of(model.complete(question("same"), {.cache = of_chat})) == "answer 2");
  CHECK(text_of(model.complete(question("same"), {.cache = of_chat})) == "answer 2");
  CHECK(text_of(model.complete(question("same"))) == "answer 1");
}

TEST_CASE("a cached reply is streamed in one piece") {
  World world;
  const Model model = world.model(counting(), {.cache = memory_cache()});
  CHECK(model.complete(question("same")));
  std::string heard;
  ModelRequest streamed = question("same");
  streamed.on_delta = [&](std::string_view text) { heard += text; };
  CHECK(model.complete(streamed));
  CHECK(heard == "answer 1");
}

TEST_CASE("a replay gives what the cache gave, and does not look into it") {
  const auto journal = std::make_shared<MemoryJournal>();
  const auto run = [&](JournalMode mode, const std::shared_ptr<ReplyCache>& cache) {
    World world;
    auto effects = EffectLog::open(journal, "run", mode, world.simulation.clock());
    REQUIRE(effects);
    const Model model = world.model(counting(), {.cache = cache});
    return text_of(model.complete(question("same"), {.effects = effects->get()}));
  };
  const auto cache = memory_cache();
  {
    World world;
    const FakeProvider provider({answer("of yesterday")});
    CHECK(world.model(provider, {.cache = cache}).complete(question("same")));
  }
  CHECK(run(JournalMode::record, cache) == "of yesterday");
  CHECK(run(JournalMode::replay, memory_cache()) == "of yesterday");
}

TEST_CASE("a full memory cache forgets what was used longest ago") {
  World world;
  const Model model = world.model(counting(), {.cache = memory_cache({.max_replies = 2})});
  const auto ask = [&](const char* text) { return text_of(model.complete(question(text))); };
  CHECK(ask("a") == "answer 1");
  CHECK(ask("b") == "answer 2");
  CHECK(ask("a") == "answer 1");
  CHECK(ask("c") == "answer 3");
  CHECK(ask("a") == "answer 1");
  CHECK(ask("b") == "answer 4");
  CHECK_THROWS_AS(static_cast<void>(memory_cache({.max_replies = 0})), std::invalid_argument);
}

TEST_CASE("an SQLite cache serves the next run; another seed is another cache") {
  const TemporaryFolder folder;
  const auto run = [&](std::int64_t seed, const FakeProvider& provider) {
    World world;
    auto cache = sqlite_cache({.path = folder / "cache.db", .cache_seed = seed});
    REQUIRE(cache);
    return text_of(world.model(provider, {.cache = *cache}).complete(question("same")));
  };
  CHECK(run(41, FakeProvider({answer("first")})) == "first");
  CHECK(run(41, FakeProvider({answer("second")})) == "first");
  CHECK(run(42, FakeProvider({answer("third")})) == "third");
}

TEST_CASE("an SQLite cache has a bound: the reply that was kept longest ago goes") {
  const TemporaryFolder folder;
  World world;
  auto cache = sqlite_cache({.path = folder / "cache.db", .max_replies = 2});
  REQUIRE(cache);
  const Model model = world.model(counting(), {.cache = *cache});
  const auto ask = [&](const std::string& text) { return text_of(model.complete(question(text))); };
  CHECK(ask("a") == "answer 1");
  CHECK(ask("b") == "answer 2");
  CHECK(ask("c") == "answer 3");
  CHECK(ask("b") == "answer 2");
  CHECK(ask("c") == "answer 3");
  CHECK(ask("a") == "answer 4");
  CHECK(sqlite_cache({.path = folder / "other.db", .max_replies = 0}).error().code ==
        ErrorCode::configuration);
}

TEST_CASE("a file that is no cache is an error that names it, and stays as it was") {
  const TemporaryFolder folder;
  const std::string path = folder / "notes.txt";
  std::ofstream(path) << std::string(4096, 'x');
  const auto cache = sqlite_cache({.path = path});
  REQUIRE_FALSE(cache);
  CHECK(cache.error().code == ErrorCode::storage);
  CHECK(cache.error().message.find("notes.txt") != std::string::npos);
  std::ifstream in(path);
  CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == std::string(4096, 'x'));
}

namespace {

class BrokenCache final : public ReplyCache {
 public:
  Result<std::optional<ModelReply>> find(std::string_view) override {
    return fail(ErrorCode::storage, "the disk is gone");
  }
  Result<void> keep(std::string_view, const ModelReply&) override {
    return fail(ErrorCode::storage, "the disk is gone");
  }
};

}  // namespace

TEST_CASE("a cache that fails is reported, and the model is asked as without") {
  World world;
  const Model model = world.model(counting(), {.cache = std::make_shared<BrokenCache>()});
  CHECK(text_of(model.complete(question("same"))) == "answer 1");
  CHECK(text_of(model.complete(question("same"))) == "answer 2");
  REQUIRE(world.warnings.size() == 4);
  CHECK(world.warnings[0].find("the disk is gone") != std::string::npos);
}

TEST_CASE("a cache that throws is one that fails, and the reply is not lost") {
  class Throwing final : public ReplyCache {
   public:
    Result<std::optional<ModelReply>> find(std::string_view) override { throw 1; }
    Result<void> keep(std::string_view, const ModelReply&) override {
      throw std::runtime_error("no room");
    }
  };
  World world;
  const Model model = world.model(counting(), {.cache = std::make_shared<Throwing>()});
  CHECK(text_of(model.complete(question("same"))) == "answer 1");
  REQUIRE(world.warnings.size() == 2);
  CHECK(world.warnings[1].find("it threw: no room") != std::string::npos);
}

TEST_CASE("a reply that was cut short under a budget is not kept") {
  World world;
  const FakeProvider provider([](const ProviderRequest& request, const CallContext&) {
    auto outcome = answer(request.max_output_tokens ? "half a" : "half a reply, and the rest");
    if (request.max_output_tokens) outcome.reply->finish_reason = "length";
    return outcome;
  });
  const Model model = world.model(provider, {.cache = memory_cache()});
  CallContext tight;
  tight.budget = TokenBudget::make(200);
  CHECK(text_of(model.complete(question("same"), tight)) == "half a");
  CHECK(text_of(model.complete(question("same"))) == "half a reply, and the rest");
  CHECK(text_of(model.complete(question("same"), tight)) == "half a reply, and the rest");
}

TEST_CASE("a fallback weighs a prompt itself: what another model measured is no bound for it") {
  World world;
  // Eight bytes a token, then a failure; the fallback counts a token a byte.
  const FakeProvider sparing([n = 0](const ProviderRequest& request, const CallContext&) mutable {
    std::int64_t bytes = 0;
    for (const MessagePtr& message : request.request.messages) {
      bytes += static_cast<std::int64_t>((*message)->text().size());
    }
    if (++n > 1) return failure(ErrorCode::not_found, 404);
    return answer("ok", {.input = bytes / 8, .output = 1, .source = UsageSource::measured});
  });
  const FakeProvider greedy([](const ProviderRequest& request, const CallContext&) {
    std::int64_t bytes = 0;
    for (const MessagePtr& message : request.request.messages) {
      bytes += static_cast<std::int64_t>((*message)->text().size());
    }
    return answer("ok", {.input = bytes, .output = 1, .source = UsageSource::measured});
  });
  const Model model = world.model(sparing, {.fallbacks = {world.model(greedy)}});
  const auto budget = TokenBudget::make(5'000);
  CallContext context;
  context.budget = budget;
  PromptMemory memory;
  ModelRequest request = question(std::string(4'000, 'x'));
  request.sampling.max_output_tokens = 10;
  request.memory = &memory;
  CHECK(model.complete(request, context).has_value());
  request.messages.push_back(store(Message::assistant("ok")));
  request.messages.push_back(store(Message::user(std::string(2'000, 'y'))));
  (void)model.complete(request, context);
  CHECK(budget->overrun() == 0);
}

TEST_CASE("when a fallback breaks off in a stream, nobody else is asked") {
  World world;
  const FakeProvider absent({failure(ErrorCode::not_found, 404)});
  const FakeProvider broken([](const ProviderRequest& request, const CallContext&) {
    request.on_delta("half of ");
    return failure(ErrorCode::connection);
  });
  const FakeProvider third({answer("a whole one")});
  const Model model = world.model(absent, {.fallbacks = {world.model(broken), world.model(third)}});
  std::string heard;
  ModelRequest request = question("one");
  request.on_delta = [&](std::string_view text) { heard += text; };
  CHECK_FALSE(model.complete(request).has_value());
  CHECK(heard == "half of ");
  CHECK(third.sent().empty());
}

TEST_CASE("a replay of a stream that broke asks no fallback either") {
  const auto journal = std::make_shared<MemoryJournal>();
  for (const JournalMode mode : {JournalMode::record, JournalMode::replay}) {
    World world;
    const FakeProvider broken([](const ProviderRequest& request, const CallContext&) {
      request.on_delta("half of ");
      return failure(ErrorCode::connection);
    });
    const FakeProvider second({answer("never said")});
    const Model model = world.model(broken, {.fallbacks = {world.model(second)}});
    auto effects = EffectLog::open(journal, "run", mode, world.simulation.clock()).value();
    CHECK(effects->start(1).has_value());
    CallContext context;
    context.effects = effects.get();
    ModelRequest request = question("one");
    request.on_delta = [](std::string_view) {};
    const auto reply = model.complete(request, context);
    REQUIRE_FALSE(reply.has_value());
    CHECK(reply.error().code == ErrorCode::connection);
    CHECK(second.sent().empty());
  }
}

TEST_CASE("a model that fails for good is followed by its fallbacks, in their order") {
  World world;
  const FakeProvider first({failure(ErrorCode::rate_limited, 429), answer("first again")});
  const FakeProvider second({failure(ErrorCode::not_found, 404)});
  const FakeProvider third({answer("from the third")});
  const Model model = world.model(first, {.fallbacks = {world.model(second), world.model(third)}});
  CHECK(text_of(model.complete(question("one"))) == "from the third");
  CHECK(text_of(model.complete(question("two"))) == "first again");
  CHECK(second.sent().size() == 1);
  CHECK(third.sent().size() == 1);
  REQUIRE(world.warnings.size() == 2);
  CHECK(world.warnings[0].find("is asked instead") != std::string::npos);
  CHECK(world.ledger->size() == 4);
}

TEST_CASE("what another model cannot cure is not brought to it") {
  for (const ErrorCode code : {ErrorCode::cancelled, ErrorCode::deadline_exceeded,
                               ErrorCode::content_filtered, ErrorCode::budget_exhausted}) {
    World world;
    const FakeProvider second({answer("never said")});
    const Model model =
        world.model(FakeProvider({failure(code)}), {.fallbacks = {world.model(second)}});
    const auto reply = model.complete(question("one"));
    REQUIRE_FALSE(reply);
    CHECK(reply.error().code == code);
    CHECK(second.sent().empty());
  }
}

TEST_CASE("no fallback is asked for a reply of which a part was streamed") {
  World world;
  const FakeProvider broken([](const ProviderRequest& request, const CallContext&) {
    request.on_delta("half of ");
    return failure(ErrorCode::connection);
  });
  const FakeProvider second({answer("never said")});
  const Model model = world.model(broken, {.fallbacks = {world.model(second)}});
  std::string heard;
  ModelRequest request = question("one");
  request.on_delta = [&](std::string_view text) { heard += text; };
  CHECK_FALSE(model.complete(request));
  CHECK(heard == "half of ");
  CHECK(second.sent().empty());
}

TEST_CASE("a reply that is not accepted goes to the next model; the last one's is taken anyway") {
  World world;
  const FakeProvider second({answer("also bad")});
  const auto is_good = [](const ModelReply& reply) {
    return reply.message.text().find("good") != std::string::npos;
  };
  const Model model = world.model(FakeProvider({answer("bad"), answer("good one")}),
                                  {.fallbacks = {world.model(second)}, .accept = is_good});
  CHECK(text_of(model.complete(question("one"))) == "also bad");
  CHECK(text_of(model.complete(question("two"))) == "good one");
  CHECK(second.sent().size() == 1);
}

TEST_CASE("an accept that throws takes the reply") {
  World world;
  const Model model =
      world.model(FakeProvider({answer("fine")}),
                  {.fallbacks = {world.model(FakeProvider({answer("never said")}))},
                   .accept = [](const ModelReply&) -> bool { throw std::runtime_error("a bug"); }});
  CHECK(text_of(model.complete(question("one"))) == "fine");
  REQUIRE(world.warnings.size() == 1);
  CHECK(world.warnings[0].find("a bug") != std::string::npos);
}

TEST_CASE("a fallback that is empty or of another runtime is a mistake") {
  World world;
  World other;
  CHECK_THROWS_AS(world.model(counting(), {.fallbacks = {Model()}}), std::invalid_argument);
  CHECK_THROWS_AS(world.model(counting(), {.fallbacks = {other.model(counting())}}),
                  std::invalid_argument);
}
