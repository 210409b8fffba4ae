#include <doctest/doctest.h>

#include <llm/fake_provider.hpp>
#include <moderato/core/simulation.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/llm/tokens/reply_length.hpp>

using namespace moderato;
using namespace moderato::test;

TEST_CASE("the length of replies is the default until enough have been seen") {
  ReplyLength length;
  for (int i = 0; i < ReplyLength::replies_needed; ++i) {
    CHECK(length.expected(1024) == 1024);
    length.learn(100);
  }
  CHECK(length.expected(1024) == 100);
  CHECK(length.expected(60) == 60);  // never more than the default
}

TEST_CASE("replies of different lengths leave room for the long ones") {
  ReplyLength length;
  for (int i = 0; i < 200; ++i) length.learn(i % 2 == 0 ? 50 : 150);
  CHECK(length.expected(1024) >= 180);
  CHECK(length.expected(1024) <= 250);
}

TEST_CASE("replies that grow are followed, tiny ones have a floor") {
  ReplyLength length;
  for (int i = 0; i < 50; ++i) length.learn(1);
  CHECK(length.expected(1024) == 16);
  for (int i = 0; i < 50; ++i) length.learn(600);
  CHECK(length.expected(1024) >= 590);
}

TEST_CASE(
    "a model without a cap asks the quota for what its replies take; a cap is asked for as it is") {
  const auto ledger = std::make_shared<MemoryLedger>();
  Simulation world({.ledger = ledger});
  const FakeProvider provider(
      {answer("short", {.input = 10, .output = 40, .source = UsageSource::measured})});
  const Model model = world.model(provider.provider(), {.limiter = unlimited()});
  for (int i = 0; i < 9; ++i) REQUIRE(model.complete(question("hi")));
  ModelRequest capped = question("hi");
  capped.sampling.max_output_tokens = 700;
  REQUIRE(model.complete(capped));
  const auto budget = TokenBudget::make(100'000);
  REQUIRE(model.complete(question("hi"), {.budget = budget}));
  const std::vector<CallRecord> records = ledger->records();
  CHECK(records[0].reserved_output == 1024);
  CHECK(records[8].reserved_output == 40);
  CHECK(records[9].reserved_output == 700);
  CHECK(records[10].reserved_output == 1024);
  CHECK(provider.sent().back().cap == 1024);
}
