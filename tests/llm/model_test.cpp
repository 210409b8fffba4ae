#include <doctest/doctest.h>

#include <llm/fake_provider.hpp>
#include <moderato/core/simulation.hpp>
#include <moderato/llm/model.hpp>

using namespace moderato;
using namespace moderato::test;
using namespace std::chrono_literals;

namespace {

/// A world with a ledger and an event log, and a model in it that never lacks quota or retries.
struct World {
  std::shared_ptr<MemoryLedger> ledger = std::make_shared<MemoryLedger>();
  Simulation simulation{{.seed = 7, .ledger = ledger}};

  Model model(const FakeProvider& provider, ModelOptions options = {}) {
    options.limiter = quota({.requests_per_minute = 600'000, .request_burst = 10s});
    return simulation.model(provider.provider(), std::move(options));
  }
  std::vector<std::string> events() const {
    std::vector<std::string> names;
    std::string log = simulation.event_log();
    for (std::size_t at = 0; at < log.size();) {
      const std::size_t end = log.find('\n', at);
      names.push_back(Json::parse(log.substr(at, end - at))["event"]);
      at = end + 1;
    }
    return names;
  }
};

}  // namespace

TEST_CASE("budget, permit, send and settle come in that order, and nothing is held afterwards") {
  World world;
  const auto budget = TokenBudget::make(10'000);
  Model model;
  FakeProvider provider([&](const ProviderRequest&, const CallContext&) {
    CHECK(budget->reserved() > 0);
    CHECK(model.limiter().snapshot(world.simulation.clock().now()).granted == 1);
    return answer("hello");
  });
  model = world.model(provider);
  const auto reply = model.complete(question("hi"), {.budget = budget});
  REQUIRE(reply);
  CHECK(reply->message.text() == "hello");
  CHECK(budget->reserved() == 0);
  CHECK(budget->spent() == 15);
  CHECK(world.events() ==
        std::vector<std::string>{"call_admitted", "call_sent", "budget_changed", "call_finished"});
}

TEST_CASE("a call that does not fit the budget takes no permit and sends nothing") {
  World world;
  FakeProvider provider({answer("hello")});
  Model model = world.model(provider);
  const auto reply =
      model.complete(question(std::string(500, 'x')), {.budget = TokenBudget::make(100)});
  REQUIRE(!reply);
  CHECK(reply.error().code == ErrorCode::budget_exhausted);
  CHECK(reply.error().message.find("100") != std::string::npos);
  CHECK(provider.sent().empty());
  CHECK(model.limiter().snapshot({}).granted == 0);
  REQUIRE(world.ledger->size() == 1);
  CHECK(world.ledger->records()[0].attempt == 0);
  CHECK(world.ledger->records()[0].error == ErrorCode::budget_exhausted);
}

TEST_CASE("a call that the limiter refuses gives the budget back and leaves a record") {
  World world;
  const auto budget = TokenBudget::make(100'000);
  FakeProvider provider({answer("hello")});
  Model model =
      world.simulation.model(provider.provider(), {.limiter = quota({.tokens_per_minute = 10})});
  const auto reply = model.complete(question("hi"), {.budget = budget});
  REQUIRE(!reply);
  CHECK(reply.error().code == ErrorCode::too_large);
  CHECK(budget->left() == 100'000);
  CHECK(provider.sent().empty());
  CHECK(world.ledger->records().at(0).attempt == 0);
  CHECK(world.events() == std::vector<std::string>{"call_rejected"});
}

TEST_CASE("every attempt leaves one record, and the provider's count is the ledger's") {
  World world;
  CallTotals totals;
  FakeProvider provider(
      {failure(ErrorCode::server_error, 500), failure(ErrorCode::timeout),
       answer("at last", {.input = 20, .output = 8, .source = UsageSource::measured})});
  Model model =
      world.model(provider, {.price = Price{.input_per_million = 1e6, .output_per_million = 2e6}});
  const auto reply =
      model.complete(question("hi"),
                     {.tenant = "t", .agent = "a", .purpose = Purpose::summary, .totals = &totals});
  REQUIRE(reply);
  CHECK(reply->attempts == 3);
  CHECK(reply->cost == doctest::Approx(36.0));
  CHECK(reply->request_id == "req-1");

  const auto records = world.ledger->records();
  REQUIRE(records.size() == provider.sent().size());
  CHECK(records.size() == 3);
  CHECK(records[0].error == ErrorCode::server_error);
  CHECK(records[0].http_status == 500);
  CHECK(records[0].usage == Usage{});
  CHECK(records[1].error == ErrorCode::timeout);
  CHECK(records[1].usage.source == UsageSource::reserved);
  CHECK(records[1].usage.output == records[1].reserved_output);
  CHECK(records[2].ok());
  CHECK(records[2].finish_reason == "stop");
  for (std::size_t i = 0; i < records.size(); ++i) {
    CHECK(records[i].attempt == static_cast<int>(i) + 1);
    CHECK(records[i].call == 1);
    CHECK(records[i].tenant == "t");
    CHECK(records[i].agent == "a");
    CHECK(records[i].purpose == Purpose::summary);
    CHECK(records[i].provider == "fake");
    CHECK(records[i].model == "fake-1");
    CHECK(records[i].estimated_input > 0);
  }
  const auto spent = totals.snapshot();
  CHECK(spent.calls == 1);
  CHECK(spent.attempts == 3);
  CHECK(spent.usage.total() == records[1].usage.total() + 28);
  CHECK(world.events() == std::vector<std::string>{"call_admitted", "call_sent", "call_rejected",
                                                   "call_retried", "call_admitted", "call_sent",
                                                   "call_rejected", "call_retried", "call_admitted",
                                                   "call_sent", "call_finished"});
}

TEST_CASE("after four attempts the last error is the answer") {
  World world;
  FakeProvider provider({failure(ErrorCode::overloaded, 503)});
  const auto reply = world.model(provider).complete(question("hi"));
  REQUIRE(!reply);
  CHECK(reply.error().code == ErrorCode::overloaded);
  CHECK(provider.sent().size() == 4);
}

TEST_CASE("a hint is waited for, never less") {
  World world;
  FakeProvider provider({failure(ErrorCode::server_error, 500, 10s), answer("ok")});
  REQUIRE(world.model(provider).complete(question("hi")));
  const Duration waited = provider.sent()[1].at - provider.sent()[0].at;
  CHECK(waited >= 10s);
  CHECK(waited <= 11'250ms);
}

TEST_CASE("nothing is slept that ends after the deadline: the error says when to come back") {
  World world;
  FakeProvider provider({failure(ErrorCode::server_error, 503, 10s), answer("ok")});
  const auto reply = world.model(provider).complete(question("hi"), {.deadline = Instant{} + 5s});
  REQUIRE(!reply);
  CHECK(reply.error().retry_after == 10s);
  CHECK(provider.sent().size() == 1);
  CHECK(world.simulation.clock().now() == Instant{});
}

TEST_CASE("a wish to wait for hours is passed on, not slept") {
  World world;
  FakeProvider provider({failure(ErrorCode::server_error, 503, 114h), answer("ok")});
  const auto reply = world.model(provider).complete(question("hi"));
  REQUIRE(!reply);
  CHECK(reply.error().retry_after == 114h);
  CHECK(world.simulation.clock().now() == Instant{});
}

TEST_CASE("billing, a bad request and a request too large are tried once") {
  for (const ErrorCode code :
       {ErrorCode::quota_exhausted, ErrorCode::invalid_request, ErrorCode::too_large}) {
    World world;
    FakeProvider provider({failure(code, 429), answer("ok")});
    CHECK(world.model(provider).complete(question("hi")).error().code == code);
    CHECK(provider.sent().size() == 1);
  }
}

TEST_CASE("the call's time limit covers its retries") {
  World world;
  FakeProvider provider([](const ProviderRequest&, const CallContext& context) {
    sleep_until(context.deadline);
    return failure(ErrorCode::timeout);
  });
  const auto reply = world.model(provider, {.call_timeout = 3s}).complete(question("hi"));
  REQUIRE(!reply);
  CHECK(provider.sent().size() == 1);
  CHECK(world.simulation.clock().now() == Instant{} + 3s);
}

TEST_CASE("retries end when their budget is used up") {
  Simulation simulation;
  FakeProvider provider({failure(ErrorCode::rate_limited, 429, 1ms)});
  Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
  CHECK(!model.complete(question("hi")));
  const auto reply = model.complete(question("hi"));
  REQUIRE(!reply);
  CHECK(reply.error().message.find("retry budget") != std::string::npos);
  CHECK(provider.sent().size() < 8);
}

TEST_CASE("a cancelled wait before a retry ends the call at once") {
  World world;
  std::stop_source stop;
  FakeProvider provider({failure(ErrorCode::server_error, 500, 60s), answer("ok")});
  Model model = world.model(provider);
  world.simulation.spawn([&] {
    sleep_for(2s);
    stop.request_stop();
  });
  const auto reply = model.complete(question("hi"), {.stop = stop.get_token()});
  REQUIRE(!reply);
  CHECK(reply.error().code == ErrorCode::cancelled);
  CHECK(reply.error().message.find("the provider said no") != std::string::npos);
  CHECK(world.simulation.clock().now() == Instant{} + 2s);
  CHECK(world.ledger->records().back().attempt == 0);
}

TEST_CASE("a call that is cancelled before it begins sends nothing") {
  World world;
  std::stop_source stop;
  stop.request_stop();
  FakeProvider provider({answer("ok")});
  const auto reply = world.model(provider).complete(question("hi"), {.stop = stop.get_token()});
  REQUIRE(!reply);
  CHECK(reply.error().code == ErrorCode::cancelled);
  CHECK(provider.sent().empty());
}

TEST_CASE("after a token has reached the caller nothing is tried again unless asked for") {
  const auto broken_then_whole = [] {
    return FakeProvider([n = 0](const ProviderRequest& request, const CallContext&) mutable {
      request.on_delta("Half");
      return n++ == 0 ? failure(ErrorCode::connection) : answer("Half done");
    });
  };
  for (const bool asked : {false, true}) {
    World world;
    const FakeProvider provider = broken_then_whole();
    std::string heard;
    ModelRequest request = question("hi");
    request.on_delta = [&](std::string_view text) { heard += text; };
    request.retry_after_first_token = asked;
    const auto reply = world.model(provider).complete(request);
    CHECK(reply.has_value() == asked);
    CHECK(provider.sent().size() == (asked ? 2 : 1));
    CHECK(heard == (asked ? "HalfHalf" : "Half"));
  }
}

TEST_CASE("streamed text reaches the caller and the observers") {
  World world;
  FakeProvider provider([](const ProviderRequest& request, const CallContext&) {
    REQUIRE(request.on_delta);
    request.on_delta("a");
    request.on_delta("");
    request.on_delta("b");
    return answer("ab");
  });
  ModelRequest request = question("hi");
  request.stream = true;
  REQUIRE(world.model(provider).complete(request));
  CHECK(world.events() == std::vector<std::string>{"call_admitted", "call_sent", "token_delta",
                                                   "token_delta", "call_finished"});
}

TEST_CASE("a reply that is not streamed asks for no pieces") {
  World world;
  FakeProvider provider([](const ProviderRequest& request, const CallContext&) {
    CHECK(!request.on_delta);
    return answer("ab");
  });
  REQUIRE(world.model(provider).complete(question("hi")));
}

TEST_CASE("a listener that throws loses the rest of the pieces, not the reply") {
  World world;
  FakeProvider provider([](const ProviderRequest& request, const CallContext&) {
    request.on_delta("a");
    request.on_delta("b");
    return answer("ab");
  });
  int calls = 0;
  ModelRequest request = question("hi");
  request.on_delta = [&](std::string_view) {
    ++calls;
    throw std::runtime_error("no terminal");
  };
  const auto reply = world.model(provider).complete(request);
  REQUIRE(reply);
  CHECK(reply->message.text() == "ab");
  CHECK(calls == 1);
  CHECK(world.simulation.event_log().find("no terminal") != std::string::npos);
}

TEST_CASE("a provider that throws is an internal error, and nothing stays reserved") {
  World world;
  const auto budget = TokenBudget::make(10'000);
  FakeProvider provider([](const ProviderRequest&, const CallContext&) -> ProviderOutcome {
    throw std::runtime_error("oops");
  });
  const auto reply = world.model(provider).complete(question("hi"), {.budget = budget});
  REQUIRE(!reply);
  CHECK(reply.error().code == ErrorCode::internal);
  CHECK(reply.error().message.find("oops") != std::string::npos);
  CHECK(budget->reserved() == 0);
}

TEST_CASE("an attempt of which nothing left this machine costs nothing and counts as not sent") {
  World world;
  const auto budget = TokenBudget::make(10'000);
  ProviderOutcome unreachable = failure(ErrorCode::connection);
  unreachable.reached = Reached::nothing;
  CallTotals totals;
  FakeProvider provider({unreachable});
  CHECK(!world.model(provider).complete(question("hi"), {.budget = budget, .totals = &totals}));
  CHECK(budget->left() == 10'000);
  CHECK(totals.snapshot().attempts == 0);
  for (const CallRecord& record : world.ledger->records()) CHECK(record.attempt == 0);
}

TEST_CASE("the runtime's observer hears each event once, with a session or without") {
  for (const char* session : {"", "s1"}) {
    int heard_by_runtime = 0;
    int heard_by_context = 0;
    Simulation simulation({.observer = [&](const Event& event) {
      heard_by_runtime += name_of(event) == "call_finished" ? 1 : 0;
    }});
    FakeProvider provider({answer("hello")});
    Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
    Observer own = [&](const Event& event) {
      heard_by_context += name_of(event) == "call_finished" ? 1 : 0;
    };
    // A session has already joined both.
    const Observer observer = *session == '\0' ? own : simulation.observer() | own;
    REQUIRE(model.complete(question("hi"), {.session = session, .observer = observer}));
    CHECK(heard_by_runtime == 1);
    CHECK(heard_by_context == 1);
  }
}

TEST_CASE("the model's settings complete those of the request one by one") {
  World world;
  FakeProvider provider([](const ProviderRequest& request, const CallContext&) {
    const Sampling& sampling = request.sampling();
    CHECK(sampling.temperature == 0.1);
    CHECK(sampling.top_p == 0.9);
    CHECK(sampling.stop == std::vector<std::string>{"END"});
    CHECK(sampling.extra == Json{{"a", 1}, {"b", 2}});
    CHECK(request.max_output_tokens == 77);
    return answer("ok");
  });
  Model model = world.model(provider, {.sampling = {.temperature = 0.7,
                                                    .top_p = 0.9,
                                                    .stop = {"END"},
                                                    .max_output_tokens = 77,
                                                    .extra = Json{{"a", 0}, {"b", 2}}}});
  ModelRequest request = question("hi");
  request.sampling.temperature = 0.1;
  request.sampling.extra = Json{{"a", 1}};
  CHECK(model.complete(request));
}

TEST_CASE("without a budget no output cap is sent unless somebody said one") {
  World world;
  FakeProvider provider({answer("ok")});
  CHECK(world.model(provider).complete(question("hi")));
  CHECK(provider.sent()[0].cap == std::nullopt);
  CHECK(world.model(provider, {.default_max_output_tokens = 64, .always_send_output_cap = true})
            .complete(question("hi")));
  CHECK(provider.sent()[1].cap == 64);
}

TEST_CASE("no model is a configuration error, and options without sense are refused at once") {
  CHECK(Model().complete(question("hi")).error().code == ErrorCode::configuration);
  CHECK(Model().name().empty());
  CHECK_THROWS_AS((void)Model().options(), std::logic_error);
  World world;
  FakeProvider provider({answer("ok")});
  CHECK_THROWS_AS((void)world.model(provider, {.retry = {.max_attempts = 0}}),
                  std::invalid_argument);
  CHECK_THROWS_AS((void)world.model(provider, {.default_max_output_tokens = 0}),
                  std::invalid_argument);
}

TEST_CASE("a ledger that throws loses no reply") {
  struct Broken final : Ledger {
    void append(const CallRecord&) override { throw 42; }
  };
  std::vector<std::string> warnings;
  Simulation simulation({.observer = Observer([&](const Event& event) {
                           if (const auto* warning = std::get_if<Warning>(&event.data)) {
                             warnings.push_back(warning->text);
                           }
                         }),
                         .ledger = std::make_shared<Broken>()});
  FakeProvider provider({answer("hello")});
  Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
  const auto reply = model.complete(question("hi"));
  REQUIRE(reply);
  CHECK(reply->message.text() == "hello");
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].starts_with("the ledger threw"));
}

TEST_CASE("a listener or a provider that throws what is no exception costs what the call cost") {
  Simulation simulation;
  const auto budget = TokenBudget::make(10'000);
  FakeProvider speaking([](const ProviderRequest& request, const CallContext&) {
    request.on_delta("hel");
    request.on_delta("lo");
    return answer("hello");
  });
  Model model = simulation.model(speaking.provider(), {.limiter = unlimited()});
  ModelRequest request = question("hi");
  int heard = 0;
  request.on_delta = [&](std::string_view) {
    ++heard;
    throw 42;
  };
  const auto reply = model.complete(request, {.budget = budget});
  REQUIRE(reply);
  CHECK(reply->message.text() == "hello");
  CHECK(heard == 1);
  CHECK(budget->spent() == 15);

  FakeProvider broken(
      [](const ProviderRequest&, const CallContext&) -> ProviderOutcome { throw 42; });
  Model other = simulation.model(broken.provider(), {.limiter = unlimited()});
  const auto failed = other.complete(question("hi"), {.budget = budget});
  REQUIRE(!failed);
  CHECK(failed.error().code == ErrorCode::internal);
  CHECK(budget->spent() > 15);
}

TEST_CASE("a cap on the output of less than one token is refused before anything is sent") {
  Simulation simulation;
  FakeProvider provider({answer("hello")});
  Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
  ModelRequest request = question("hi");
  for (const std::int64_t cap : {0, -5}) {
    request.sampling.max_output_tokens = cap;
    const auto reply = model.complete(request, {.budget = TokenBudget::make(10'000)});
    REQUIRE(!reply);
    CHECK(reply.error().code == ErrorCode::invalid_request);
  }
  CHECK(provider.sent().empty());
}
