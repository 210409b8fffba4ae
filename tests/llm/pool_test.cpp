#include <doctest/doctest.h>

#include <llm/fake_provider.hpp>
#include <moderato/core/simulation.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/llm/providers/pool.hpp>

using namespace moderato;
using namespace moderato::test;
using namespace std::chrono_literals;

TEST_CASE("a second deployment is used before anybody waits for the first") {
  Simulation world;
  FakeProvider one({answer("one")});
  FakeProvider two({answer("two")});
  const auto minute = [] {
    return quota({.requests_per_minute = 60, .request_burst = 2s, .safety = 1.0});
  };
  const Pool both = pool({{one.provider(), minute()}, {two.provider(), minute()}});
  Model model = world.model(both.provider, {.limiter = both.limiter});
  std::string answers;
  for (int i = 0; i < 4; ++i) answers += model.complete(question("hi"))->message.text() + " ";
  CHECK(answers == "one one two two ");
  CHECK(world.clock().now() == Instant{});
  CHECK(model.complete(question("hi")).has_value());  // now it waits for the one that is sooner
  CHECK(world.clock().now() == Instant{} + 1s);
}

TEST_CASE("a deployment that is closed is passed over") {
  Simulation world;
  FakeProvider broken({failure(ErrorCode::quota_exhausted, 429)});
  FakeProvider good({answer("good")});
  const Pool all = pool({{broken.provider(), quota({.max_in_flight = 4})},
                         {good.provider(), quota({.max_in_flight = 4})}});
  Model model = world.model(all.provider, {.limiter = all.limiter});
  CHECK_FALSE(model.complete(question("a")));  // billing is never retried
  CHECK(model.complete(question("b"))->message.text() == "good");
  CHECK(broken.sent().size() == 1);
}

TEST_CASE("a retry goes to another deployment") {
  Simulation world;
  FakeProvider shaky({failure(ErrorCode::server_error, 500)});
  FakeProvider good({answer("good")});
  const Pool both = pool({{shaky.provider(), quota({.max_in_flight = 4})},
                          {good.provider(), quota({.max_in_flight = 4})}});
  Model model = world.model(both.provider, {.limiter = both.limiter});
  const auto reply = model.complete(question("a"));
  REQUIRE(reply);
  CHECK(reply->attempts == 2);
  CHECK(shaky.sent().size() == 1);
}

TEST_CASE("a pool of nothing is refused when it is made") {
  CHECK_THROWS_AS((void)pool({}), std::invalid_argument);
}
