#include <doctest/doctest.h>

#include <moderato/core/simulation.hpp>
#include <moderato/llm/providers/simulated.hpp>

using namespace moderato;
using namespace std::chrono_literals;

namespace {

/// A world in virtual time with a simulated provider in it, asked without a Model around it.
struct World {
  Simulation simulation{};
  SimulatedProvider simulated;
  std::unique_ptr<Provider> provider;

  explicit World(SimulatedOptions options = {})
      : simulated(std::move(options)), provider(simulated.provider().make(simulation)) {}

  /// On a fiber.
  ProviderOutcome send(const CallContext& context = {}, std::optional<std::int64_t> cap = {},
                       std::function<void(std::string_view)> on_delta = {}) const {
    const ModelRequest request{.messages = {store(Message::user("What is the plan?"))}};
    return provider->send(
        {.request = request, .max_output_tokens = cap, .on_delta = std::move(on_delta)}, context);
  }
  ProviderOutcome ask(const CallContext& context = {}) {
    return simulation.block_on([&] { return send(context); });
  }
  Duration now() const { return simulation.clock().now() - Instant{}; }
};

SimulatedOptions with_fault(SimulatedFault fault) {
  return {.model = "tokens-20", .faults = {fault}};
}

}  // namespace

TEST_CASE("a simulated answer takes the time of its latency law and says what it used") {
  World world({.model = "tokens-8", .latency = {.first_token = 300ms, .per_token = 20ms}});
  const auto outcome = world.ask();
  REQUIRE(outcome.reply);
  CHECK(outcome.reply->message.text() == "word word word word word word word word");
  CHECK(outcome.reply->finish_reason == "stop");
  CHECK(outcome.reply->usage.input == 5 + 4);
  CHECK(outcome.reply->usage.output == 10);  // 39 characters
  CHECK(outcome.reply->usage.source == UsageSource::measured);
  CHECK(outcome.http_status == 200);
  CHECK(outcome.request_id == "req_00000001");
  CHECK(world.now() == 300ms + 10 * 20ms);
}

TEST_CASE("a streamed answer comes piece by piece over the time that its tokens take") {
  World world({.model = "tokens-8", .latency = {.first_token = 300ms, .per_token = 20ms}});
  std::vector<Duration> times;
  std::string text;
  const auto outcome = world.simulation.block_on([&] {
    return world.send({}, {}, [&](std::string_view piece) {
      times.push_back(world.now());
      text += piece;
    });
  });
  REQUIRE(outcome.reply);
  CHECK(text == outcome.reply->message.text());
  CHECK(outcome.time_to_first_token == 300ms);
  REQUIRE(times.size() == 8);
  CHECK(times.front() == 325ms);
  CHECK(times.back() == 500ms);
}

TEST_CASE("latencies are spread around their mean, the same way for the same seed") {
  const auto total = [](std::uint64_t seed) {
    World world({.latency = {.first_token = 1s, .sigma = 0.5}, .seed = seed});
    for (int i = 0; i < 1000; ++i) CHECK(world.ask().reply);
    return world.now();
  };
  CHECK(total(1) == total(1));
  CHECK(total(1) != total(2));
  CHECK(total(1) > 950s);
  CHECK(total(1) < 1050s);
}

TEST_CASE("an output cap cuts the answer and the reply says so") {
  World world({.model = "tokens-100"});
  const auto outcome = world.simulation.block_on([&] { return world.send({}, 3); });
  REQUIRE(outcome.reply);
  CHECK(outcome.reply->message.text() == "word word wo");
  CHECK(outcome.reply->finish_reason == "length");
  CHECK(outcome.reply->usage.output == 3);
}

TEST_CASE("a simulated refusal reads as a real one: state, hint and headers") {
  World world({.model = "tokens-4", .quota = {.requests_per_minute = 3}});
  for (int i = 0; i < 3; ++i) CHECK(world.ask().reply);
  const auto refused = world.ask();
  REQUIRE(!refused.reply);
  CHECK(refused.http_status == 429);
  CHECK(refused.reached == Reached::answered);
  CHECK(refused.reply.error().code == ErrorCode::rate_limited);
  CHECK(refused.reply.error().provider_code == "rate_limit_exceeded");
  CHECK(refused.quota.retry_after == 20s);
  REQUIRE(refused.quota.state);
  CHECK(refused.quota.state->limit == 3);
  CHECK(refused.quota.state->used == 3);
  REQUIRE(refused.quota.headers.size() == 1);
  CHECK(refused.quota.headers[0].dimension == "requests");
  CHECK(refused.quota.headers[0].remaining == 0);
  CHECK(refused.quota.headers[0].reset == 60s);

  // Whoever waits as told is served.
  world.simulation.block_on([] { sleep_for(20s); });
  CHECK(world.ask().reply);
}

TEST_CASE("a refusal says when to come back in one of several ways") {
  const auto hint = [](HintForm form) {
    World world({.quota = {.requests_per_minute = 40}, .hint = form});
    for (int i = 0; i < 40; ++i) CHECK(world.ask().reply);
    return world.ask().reply.error().retry_after;
  };
  CHECK(hint(HintForm::milliseconds) == 1500ms);
  CHECK(hint(HintForm::seconds) == 2s);
  CHECK(hint(HintForm::words) == 1500ms);
  CHECK(hint(HintForm::both) == 1500ms);
}

TEST_CASE("in an outage every answer is a 503, and it ends by itself") {
  World world({.outages = {{.after = 10s, .lasts = 5s}}});
  CHECK(world.ask().reply);
  world.simulation.block_on([] { sleep_for(12s); });
  const auto down = world.ask();
  CHECK(down.http_status == 503);
  CHECK(down.reply.error().code == ErrorCode::overloaded);
  world.simulation.block_on([] { sleep_for(5s); });
  CHECK(world.ask().reply);
  CHECK(world.simulated.stats().failures.at("outage") == 1);
}

TEST_CASE("headers can be left out") {
  World world({.quota = {.requests_per_minute = 3}, .rate_limit_headers = false});
  CHECK(world.ask().quota.headers.empty());
}

TEST_CASE("calls in flight are limited, and a cancelled call gives its slot back at once") {
  World world({.quota = {.max_in_flight = 1}, .latency = {.first_token = 10s}});
  std::stop_source stop;
  auto first = world.simulation.spawn([&] { return world.send({.stop = stop.get_token()}); });
  auto second = world.simulation.spawn([&] {
    sleep_for(1s);
    const auto refused = world.send();
    CHECK(refused.http_status == 429);
    CHECK(refused.quota.retry_after == 100ms);
    CHECK(world.simulated.stats().in_flight == 1);
    stop.request_stop();
    sleep_for(1s);
    CHECK(world.simulated.stats().in_flight == 0);
    return world.send();
  });
  world.simulation.run();
  CHECK(first.join().reply.error().code == ErrorCode::cancelled);
  CHECK(second.join().reply);
  const auto stats = world.simulated.stats();
  CHECK(stats.requests == 3);
  CHECK(stats.successes == 1);
  CHECK(stats.refused.at("concurrency") == 1);
  CHECK(stats.failures.at("client_gone") == 1);
  CHECK(stats.peak_in_flight == 1);
}

TEST_CASE("nothing is waited for beyond the deadline") {
  World world({.latency = {.first_token = 10s}});
  const auto outcome = world.ask({.deadline = Instant{} + 3s});
  REQUIRE(!outcome.reply);
  CHECK(outcome.reply.error().code == ErrorCode::deadline_exceeded);
  CHECK(outcome.reached == Reached::sent);
  CHECK(world.now() == 3s);
}

TEST_CASE("each fault becomes the error that the real one would be") {
  const struct {
    FaultKind kind;
    ErrorCode error;
    int status;
  } cases[] = {
      {FaultKind::reset, ErrorCode::connection, 0},
      {FaultKind::stall, ErrorCode::timeout, 0},
      {FaultKind::truncated, ErrorCode::protocol, 200},
      {FaultKind::malformed_stream, ErrorCode::protocol, 200},
      {FaultKind::server_error, ErrorCode::server_error, 500},
      {FaultKind::overloaded, ErrorCode::overloaded, 503},
      {FaultKind::slow_down, ErrorCode::overloaded, 429},
      {FaultKind::refuse_without_hint, ErrorCode::rate_limited, 429},
      {FaultKind::insufficient_quota, ErrorCode::quota_exhausted, 429},
      {FaultKind::credit_balance, ErrorCode::quota_exhausted, 429},
      {FaultKind::organization_spend_limit, ErrorCode::quota_exhausted, 429},
      {FaultKind::project_spend_limit, ErrorCode::quota_exhausted, 429},
      {FaultKind::organization_usage_limit, ErrorCode::quota_exhausted, 429},
  };
  for (const auto& expected : cases) {
    CAPTURE(to_string(expected.kind));
    World world(with_fault({.kind = expected.kind, .every = 1}));
    const auto outcome = world.ask();
    REQUIRE(!outcome.reply);
    CHECK(outcome.reply.error().code == expected.error);
    CHECK(outcome.http_status == expected.status);
    CHECK(!outcome.quota.retry_after);
    CHECK(world.now() == (expected.kind == FaultKind::stall ? 60s : 0s));
    const auto stats = world.simulated.stats();
    CHECK(stats.successes == 0);
    CHECK(stats.in_flight == 0);
    CHECK(stats.failures.at(std::string(to_string(expected.kind))) == 1);
  }
}

TEST_CASE("a stream that breaks has given a part of its text") {
  World world(with_fault({.kind = FaultKind::truncated, .every = 1}));
  std::string text;
  const auto outcome = world.simulation.block_on(
      [&] { return world.send({}, {}, [&](std::string_view piece) { text += piece; }); });
  CHECK(!outcome.reply);
  CHECK(text.size() > 10);
  CHECK(text.size() < 99);
}

TEST_CASE("faults happen to every n-th request, or as often as their probability says") {
  World every(with_fault({.kind = FaultKind::server_error, .every = 3}));
  std::string pattern;
  for (int i = 0; i < 9; ++i) pattern += every.ask().reply ? '.' : 'x';
  CHECK(pattern == "..x..x..x");

  World some(with_fault({.kind = FaultKind::server_error, .probability = 0.2}));
  int failed = 0;
  for (int i = 0; i < 1000; ++i) failed += some.ask().reply ? 0 : 1;
  CHECK(failed > 150);
  CHECK(failed < 250);
}

TEST_CASE("faults are read from text, and a wrong one is explained") {
  CHECK(simulated_fault_from_string("500:0.25") ==
        SimulatedFault{.kind = FaultKind::server_error, .probability = 0.25});
  CHECK(simulated_fault_from_string("credit-balance:every=7") ==
        SimulatedFault{.kind = FaultKind::credit_balance, .every = 7});
  for (const char* text : {"", "500", "none:1", "fire:0.1", "500:", "500:2", "500:-1", "500:nan",
                           "500:0.1x", "500:every=0", "500:every=x"}) {
    CAPTURE(text);
    const auto fault = simulated_fault_from_string(text);
    REQUIRE(!fault);
    CHECK(fault.error().code == ErrorCode::configuration);
    CHECK(fault.error().message.find(text) != std::string::npos);
  }
}

TEST_CASE("models made from one simulated provider share its quota and its counts") {
  World world({.model = "echo", .quota = {.requests_per_minute = 2}});
  const auto other = world.simulated.provider("pingpong-1").make(world.simulation);
  const ModelRequest request{.messages = {store(Message::user("one two"))}};
  const auto reply =
      world.simulation.block_on([&] { return other->send({.request = request}, {}).reply; });
  REQUIRE(reply);
  CHECK(reply->message.text() == "Reply 1. TERMINATE");
  CHECK(reply->model == "pingpong-1");
  CHECK(world.ask().reply->message.text() == "What is the plan?");
  CHECK(!world.ask().reply);
  const auto stats = world.simulated.stats();
  CHECK(stats.requests == 3);
  CHECK(stats.successes == 2);
  CHECK(stats.refused.at("requests") == 1);
  CHECK(stats.input_tokens == 2 + 4 + 5 + 4);
  CHECK(stats.output_tokens == 5 + 5);
}

TEST_CASE("a script's error carries its own words and headers, and its delay passes") {
  auto script = SimulatedScript::from_json(R"({"rules": [{"delay_ms": 500, "error": {"status": 429,
      "code": "rate_limit_exceeded", "message": "Later.", "headers": {"retry-after": "7",
      "x-should-retry": "false"}}}]})");
  REQUIRE(script);
  World world({.script = *script});
  const auto outcome = world.ask();
  REQUIRE(!outcome.reply);
  CHECK(outcome.reply.error().code == ErrorCode::rate_limited);
  CHECK(outcome.quota.retry_after == 7s);
  CHECK(outcome.quota.should_retry == false);
  CHECK(world.now() == 500ms);
}

TEST_CASE("a tool call of a script arrives as one") {
  World world({.model = "weather"});
  const ModelRequest request{.messages = {store(Message::user("How is it in Oslo?"))},
                             .tools = std::make_shared<const std::vector<ToolDefinition>>(
                                 std::vector<ToolDefinition>{{.name = "get_weather"}})};
  const auto reply = world.simulation.block_on(
      [&] { return world.provider->send({.request = request}, {}).reply; });
  REQUIRE(reply);
  CHECK(reply->finish_reason == "tool_calls");
  CHECK(reply->message.content.is_null());
  REQUIRE(reply->message.tool_calls.size() == 1);
  CHECK(reply->message.tool_calls[0].name == "get_weather");
}
