#include <doctest/doctest.h>

#include <llm/fake_provider.hpp>
#include <moderato/core/simulation.hpp>
#include <moderato/llm/model.hpp>

using namespace moderato;
using namespace moderato::test;
using namespace std::chrono_literals;

namespace {

/// A provider as greedy as the rules allow: a prompt token a byte (the worst a tokenizer can do,
/// with ten for each message), and a reply that fills its cap.
FakeProvider greedy(Duration latency = 0s) {
  return FakeProvider([latency](const ProviderRequest& request, const CallContext& context) {
    sleep_for(latency, context.stop);
    std::int64_t input = 0;
    for (const MessagePtr& message : request.request.messages) {
      input += 10 + static_cast<std::int64_t>((*message)->text().size());
    }
    return answer("ok", {.input = input,
                         .output = request.max_output_tokens.value_or(4096),
                         .source = UsageSource::measured});
  });
}

}  // namespace

TEST_CASE("the output cap is lowered to what is left of the budget, and sent") {
  Simulation simulation;
  const auto budget = TokenBudget::make(1000);
  FakeProvider provider = greedy();
  Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
  const ModelRequest request = question(std::string(300, 'x'));
  const std::int64_t bound = model.prompt_upper_bound(request);
  REQUIRE(model.complete(request, {.budget = budget}));
  CHECK(provider.sent()[0].cap == 1000 - bound);
  CHECK(budget->overrun() == 0);

  const auto refused = model.complete(question("another"), {.budget = budget});
  REQUIRE(!refused);
  CHECK(refused.error().code == ErrorCode::budget_exhausted);
  CHECK(provider.sent().size() == 1);
}

TEST_CASE("a wish for fewer tokens than are left is respected") {
  Simulation simulation;
  FakeProvider provider = greedy();
  Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
  ModelRequest request = question("hi");
  request.sampling.max_output_tokens = 50;
  REQUIRE(model.complete(request, {.budget = TokenBudget::make(100'000)}));
  CHECK(provider.sent()[0].cap == 50);
}

TEST_CASE("64 calls at once on one budget never overrun it") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    Simulation simulation({.seed = seed, .shuffle = true});
    const auto budget = TokenBudget::make(20'000);
    FakeProvider provider = greedy(1s);
    Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
    std::vector<int> chats(64);
    const auto refusals = simulation.parallel(chats, {.max_in_flight = 64}, [&](int) {
      MessageList history;
      for (int turn = 0; turn < 20; ++turn) {
        history.push_back(store(Message::user(std::string(100, 'x'))));
        const auto reply = model.complete({.messages = history}, {.budget = budget});
        if (!reply) return reply.error().code;
        history.push_back(store(reply->message));
      }
      return ErrorCode::internal;
    });
    CHECK(budget->spent() <= 20'000);
    CHECK(budget->spent() > 15'000);
    CHECK(budget->overrun() == 0);
    CHECK(budget->reserved() == 0);
    for (const ErrorCode code : refusals) CHECK(code == ErrorCode::budget_exhausted);
  }
}

TEST_CASE("what the provider measured keeps the bound of a growing history tight") {
  Simulation simulation;
  // A tokenizer as it really is: four bytes a token.
  FakeProvider provider([](const ProviderRequest& request, const CallContext&) {
    std::int64_t input = 3;
    for (const MessagePtr& message : request.request.messages) {
      input += 4 + static_cast<std::int64_t>((*message)->text().size()) / 4;
    }
    return answer(std::string(400, 'y'),
                  {.input = input, .output = 100, .source = UsageSource::measured});
  });
  Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
  MessageList history;
  for (int turn = 0; turn < 20; ++turn) {
    history.push_back(store(Message::user(std::string(400, 'x'))));
    const auto reply = model.complete({.messages = history});
    REQUIRE(reply);
    history.push_back(store(reply->message));
    const std::int64_t next = model.prompt_upper_bound({.messages = history});
    CHECK(next >= reply->usage.input + 100);
    CHECK(next <= reply->usage.input + 400 + 16);
  }
}

TEST_CASE("the final answer may use what was set aside for it, and nobody else may") {
  Simulation simulation;
  const auto budget = TokenBudget::make({.total = 1000, .final_answer_reserve = 400});
  FakeProvider provider = greedy();
  Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
  while (model.complete(question("hi"), {.budget = budget})) {
  }
  CHECK(budget->spent() <= 600);
  const auto last = model.complete(
      question("hi"), {.purpose = Purpose::final_answer, .budget = budget, .final_answer = true});
  REQUIRE(last);
  CHECK(budget->spent() > 600);
  CHECK(budget->overrun() == 0);
}

TEST_CASE("a reply whose usage nobody told is charged by estimate") {
  Simulation simulation;
  const auto budget = TokenBudget::make(10'000);
  FakeProvider provider({answer(std::string(400, 'x'), {})});
  Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
  const auto reply = model.complete(question(std::string(400, 'y')), {.budget = budget});
  REQUIRE(reply);
  CHECK(reply->usage.source == UsageSource::estimated);
  CHECK(reply->usage.output == 100);
  CHECK(reply->usage.input >= 100);
  CHECK(budget->spent() == reply->usage.total());
}

TEST_CASE("a call that is cancelled after it was sent is charged with all that it had reserved") {
  Simulation simulation;
  const auto budget = TokenBudget::make(10'000);
  std::stop_source stop;
  FakeProvider provider([](const ProviderRequest&, const CallContext& context) {
    REQUIRE(sleep_for(60s, context.stop) == Wake::cancelled);
    return failure(ErrorCode::cancelled);
  });
  Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
  simulation.spawn([&] {
    sleep_for(1s);
    stop.request_stop();
  });
  ModelRequest request = question("hi");
  request.sampling.max_output_tokens = 200;
  const auto reply = model.complete(request, {.stop = stop.get_token(), .budget = budget});
  REQUIRE(!reply);
  CHECK(reply.error().code == ErrorCode::cancelled);
  CHECK(budget->spent() == model.prompt_upper_bound(request) + 200);
  CHECK(budget->reserved() == 0);
}

TEST_CASE("a refusal of the provider costs the budget nothing, a retry pays for itself") {
  Simulation simulation;
  const auto budget = TokenBudget::make(10'000);
  FakeProvider provider({failure(ErrorCode::rate_limited, 429, 1s), answer("ok")});
  Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
  REQUIRE(model.complete(question("hi"), {.budget = budget}));
  CHECK(budget->spent() == 15);
}

TEST_CASE("a retry that the budget does not allow is not made, and both reasons are told") {
  Simulation simulation;
  const auto budget = TokenBudget::make(400);
  FakeProvider provider({failure(ErrorCode::timeout), answer("ok")});
  Model model = simulation.model(provider.provider(), {.limiter = unlimited()});
  const auto reply = model.complete(question("hi"), {.budget = budget});
  REQUIRE(!reply);
  CHECK(reply.error().code == ErrorCode::budget_exhausted);
  CHECK(reply.error().message.find("timeout") != std::string::npos);
  CHECK(budget->spent() == 400);
  CHECK(provider.sent().size() == 1);
}
