#include <doctest/doctest.h>

#include <llm/fake_provider.hpp>
#include <moderato/core/simulation.hpp>
#include <moderato/llm/failed_turns.hpp>
#include <moderato/llm/model.hpp>

using namespace moderato;
using namespace moderato::test;
using namespace std::chrono_literals;

TEST_CASE("a loop around a failing call is recognised, told, and paid from the retry budget") {
  Simulation world;
  FakeProvider provider({failure(ErrorCode::server_error, 500)});
  std::vector<std::string> warnings;
  const Observer observer([&](const Event& event) {
    if (const auto* warning = std::get_if<Warning>(&event.data)) warnings.push_back(warning->text);
  });
  Model model = world.model(provider.provider(),
                            {.limiter = quota({.max_in_flight = 4}), .retry = {.max_attempts = 2}});
  int refused = 0;
  for (int i = 0; i < 30; ++i) {  // the user's own loop
    const auto reply = model.complete(question("hi"), {.observer = observer});
    REQUIRE_FALSE(reply);
    if (reply.error().code == ErrorCode::rate_limited) {
      ++refused;
      CHECK(reply.error().message.find("retry budget") != std::string::npos);
      CHECK(reply.error().retry_after == 10s);
    }
  }
  CHECK(warnings.size() == 29);
  CHECK(refused > 5);
  CHECK(provider.sent().size() < 30);  // 60 without
}

TEST_CASE("another question, or the same after a success, is no retry") {
  Simulation world;
  FakeProvider provider({failure(ErrorCode::invalid_request, 400), answer("a"), answer("b")});
  int warnings = 0;
  const Observer observer(
      [&](const Event& event) { warnings += std::holds_alternative<Warning>(event.data) ? 1 : 0; });
  Model model = world.model(provider.provider(), {.limiter = unlimited()});
  CHECK_FALSE(model.complete(question("hi"), {.observer = observer}));
  CHECK(model.complete(question("other"), {.observer = observer}));
  CHECK(warnings == 0);
  CHECK(model.complete(question("hi"), {.observer = observer}));
  CHECK(warnings == 1);
  CHECK(model.complete(question("hi"), {.observer = observer}));
  CHECK(warnings == 1);
}

TEST_CASE("a failure is forgotten after a minute, and the oldest of too many") {
  FailedTurns turns;
  const Instant start = Instant{} + 1h;
  turns.failed(7, start, 4);
  CHECK(turns.lately(7, start + 59s)->attempts == 4);
  CHECK_FALSE(turns.lately(7, start + 60s).has_value());
  CHECK_FALSE(turns.lately(8, start).has_value());
  for (std::uint64_t turn = 100; turn < 1'200; ++turn) turns.failed(turn, start, 1);
  CHECK_FALSE(turns.lately(7, start).has_value());
  CHECK(turns.lately(1'199, start).has_value());
}
