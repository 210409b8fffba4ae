#include <doctest/doctest.h>

#include <moderato/core/simulation.hpp>
#include <moderato/llm/providers/scripted.hpp>

using namespace moderato;
using namespace std::chrono_literals;

namespace {

ModelRequest question(std::string text) {
  return {.messages = {store(Message::user(std::move(text)))}};
}

/// Asks a provider without a Model around it.
struct Asker {
  Simulation world{};
  std::unique_ptr<Provider> provider;

  explicit Asker(const ModelProvider& made) : provider(made.make(world)) {}
  ProviderOutcome send(const ModelRequest& request) {
    return world.block_on([&] { return provider->send({.request = request}, {}); });
  }
  Result<ModelReply> ask(const std::string& text = "hi") { return send(question(text)).reply; }
  /// The texts of the next replies, joined.
  std::string texts(int count) {
    std::string all;
    for (int i = 0; i < count; ++i) {
      const auto reply = ask();
      all += reply ? reply->message.text() : "error: " + reply.error().message;
    }
    return all;
  }
};

}  // namespace

TEST_CASE("scripted replies come in order, and the end of the list is a clear error") {
  Asker asker(scripted({"one", "two"}));
  CHECK(asker.texts(1) == "one");
  CHECK(asker.texts(1) == "two");
  const auto none = asker.ask();
  REQUIRE(!none);
  CHECK(none.error().code == ErrorCode::invalid_request);
  CHECK(none.error().message == "the scripted model has no reply left: it was made with 2");
}

TEST_CASE("a list of replies can start again, or repeat its last one") {
  Asker cycle(scripted({"a", "b"}, {.on_exhausted = OnExhausted::cycle}));
  CHECK(cycle.texts(4) == "abab");
  Asker last(scripted({"a", "b"}, {.on_exhausted = OnExhausted::repeat_last}));
  CHECK(last.texts(4) == "abbb");
  Asker empty(scripted(std::vector<ScriptedReply>{}, {.on_exhausted = OnExhausted::repeat_last}));
  CHECK(!empty.ask());
}

TEST_CASE("a list may hold messages with tool calls, whole replies and failures") {
  const Message call{.role = Role::user, .tool_calls = {{"c1", "get_weather", "{}"}}};
  const ModelReply cut{.message = Message::assistant("Once upon"),
                       .finish_reason = "length",
                       .usage = {.input = 7, .output = 2, .source = UsageSource::measured}};
  Asker asker(scripted({call, cut, Error{.code = ErrorCode::server_error, .http_status = 500}}));

  const auto called = asker.ask();
  REQUIRE(called);
  CHECK(called->message.role == Role::assistant);
  CHECK(called->message.tool_calls == call.tool_calls);
  CHECK(called->finish_reason == "tool_calls");

  const auto length = asker.ask();
  REQUIRE(length);
  CHECK(length->finish_reason == "length");
  CHECK(length->usage == cut.usage);

  const auto failed = asker.send(question("hi"));
  REQUIRE(!failed.reply);
  CHECK(failed.reply.error().code == ErrorCode::server_error);
  CHECK(failed.http_status == 500);
}

TEST_CASE("usage that a scripted reply does not state is estimated") {
  Asker asker(scripted({"four words of text"}));
  const auto reply = asker.ask(std::string(400, 'x'));
  REQUIRE(reply);
  CHECK(reply->usage.source == UsageSource::estimated);
  CHECK(reply->usage.input >= 100);
  CHECK(reply->usage.output > 0);
  CHECK(reply->model == "scripted");
}

TEST_CASE("a streamed scripted reply arrives word by word and complete") {
  Asker asker(scripted({"First line\n\nand a second  one."}));
  std::vector<std::string> pieces;
  const auto request = question("hi");
  const auto outcome = asker.world.block_on([&] {
    return asker.provider->send(
        {.request = request, .on_delta = [&](std::string_view p) { pieces.emplace_back(p); }}, {});
  });
  CHECK(pieces == std::vector<std::string>{"First ", "line\n\n", "and ", "a ", "second  ", "one."});
  CHECK(outcome.time_to_first_token == Duration::zero());
  REQUIRE(outcome.reply);
  CHECK(outcome.reply->message.text() == "First line\n\nand a second  one.");
}

TEST_CASE("a script that is a function sees the request, and its calls may wait at the same time") {
  const auto provider = scripted([](const ModelRequest& request) -> Result<ModelReply> {
    sleep_for(2s);
    return ModelReply{.message =
                          Message::assistant("re: " + request.messages.back()->operator*().text())};
  });
  Asker asker(provider);
  auto first = asker.world.spawn([&] { return asker.ask("a"); });
  auto second = asker.world.spawn([&] { return asker.ask("b"); });
  asker.world.run();
  CHECK(first.join()->message.text() == "re: a");
  CHECK(second.join()->message.text() == "re: b");
  CHECK(asker.world.clock().now() == Instant{} + 2s);
}

TEST_CASE("a script's function that throws is an error and not an exception") {
  Asker asker(scripted(
      [](const ModelRequest&) -> Result<ModelReply> { throw std::runtime_error("out of ideas"); }));
  const auto reply = asker.ask();
  REQUIRE(!reply);
  CHECK(reply.error().code == ErrorCode::internal);
  CHECK(reply.error().message == "the scripted model's function threw: out of ideas");
}
