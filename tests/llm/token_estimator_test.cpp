#include <doctest/doctest.h>

#include <moderato/llm/tokens/token_estimator.hpp>

using namespace moderato;

namespace {

MessagePtr words(std::size_t bytes, char letter = 'x') {
  return store(Message::user(std::string(bytes, letter)));
}

}  // namespace

TEST_CASE("the guess is a quarter of the bytes and the bound is all of them") {
  const TokenEstimator estimator;
  const PromptSize size = estimator.measure({.messages = {words(4000)}});
  CHECK(size.expected >= 1000);
  CHECK(size.expected < 1020);
  CHECK(size.upper_bound >= 4000);
  CHECK(size.upper_bound < 4100);
}

TEST_CASE("a prompt without words still counts") {
  const TokenEstimator estimator;
  CHECK(estimator.measure({}).expected > 0);
  CHECK(estimator.measure({.messages = {store(Message{})}}).expected > 4);
}

TEST_CASE("calls, their answers, tools, schemas and pictures are counted") {
  const TokenEstimator estimator;
  const auto bound = [&](const ModelRequest& request) {
    return estimator.measure(request).upper_bound;
  };
  const std::string long_text(1000, 'x');
  const std::int64_t empty = bound({});
  CHECK(bound({.messages = {store({.role = Role::assistant,
                                   .tool_calls = {{.arguments = long_text}}})}}) > empty + 1000);
  CHECK(bound({.messages = {store(
                   {.role = Role::assistant, .function_call = FunctionCall{"f", long_text}})}}) >
        empty + 1000);
  CHECK(bound({.messages = {store({.role = Role::tool,
                                   .tool_responses = {{.content = long_text}}})}}) > empty + 1000);
  CHECK(bound({.tools = std::make_shared<const std::vector<ToolDefinition>>(
                   std::vector<ToolDefinition>{{.name = "f", .description = long_text}})}) >
        empty + 1000);
  CHECK(bound({.sampling = {.response_format = Json{{"schema", long_text}}}}) > empty + 1000);
  CHECK(bound({.messages = {store({.content = std::vector<ContentPart>{ImagePart{
                                       "data:image/png;base64," + long_text}}})}}) > empty + 4000);
}

TEST_CASE("after a measurement only what was added is bounded by its bytes") {
  TokenEstimator estimator;
  MessageList history{words(10'000), words(10'000, 'y')};
  estimator.learn(estimator.measure({.messages = history}), 5000);
  CHECK(estimator.measure({.messages = history}).upper_bound == 5000);

  history.push_back(words(800));
  history.push_back(words(200));
  const PromptSize size = estimator.measure({.messages = history});
  CHECK(size.upper_bound == 5000 + 800 + 200 + 2 * 16);
  CHECK(size.expected > 5000);
  CHECK(size.expected < 5000 + 400);
  CHECK(size.text_bytes == 21'000);
}

TEST_CASE("a measurement holds for the same beginning only") {
  TokenEstimator estimator;
  const MessagePtr last = words(5000, 'z');
  estimator.learn(estimator.measure({.messages = {words(5000), last}}), 100);
  const auto bound = [&](const ModelRequest& request) {
    return estimator.measure(request).upper_bound;
  };
  CHECK(bound({.messages = {words(5000), last}}) == 100);  // by content, not by address
  CHECK(bound({.messages = {words(5000, 'q'), last}}) > 10'000);
  CHECK(bound({.messages = {last}}) > 5000);
  CHECK(bound({.messages = {last, words(5000)}}) > 10'000);
  const auto tools = std::make_shared<const std::vector<ToolDefinition>>(
      std::vector<ToolDefinition>{{.name = "f"}});
  CHECK(bound({.messages = {words(5000), last}, .tools = tools}) > 10'000);
  CHECK(bound({.messages = {words(5000), last}, .sampling = {.response_format = Json{{"a", 1}}}}) >
        10'000);
}

TEST_CASE("with a memory of the list the sizes are the same as without") {
  TokenEstimator with;
  TokenEstimator without;
  PromptMemory memory;
  ModelRequest request{.messages = {store(Message::system("rules"))}, .memory = &memory};
  for (int turn = 1; turn <= 100; ++turn) {
    request.messages.push_back(words(static_cast<std::size_t>(turn), 'q'));
    const PromptSize size = with.measure(request);
    const PromptSize anew = without.measure({.messages = request.messages});
    CHECK(size.identity == anew.identity);
    CHECK(size.upper_bound == anew.upper_bound);
    CHECK(size.expected == anew.expected);
    CHECK(size.text_bytes == anew.text_bytes);
    if (turn == 60) request.messages.erase(request.messages.begin() + 30);
    // Measured now and then, with a gap that is too long to go back over.
    if (turn % 7 != 0 || (turn > 10 && turn < 50)) continue;
    with.learn(size, 3 * turn);
    without.learn(anew, 3 * turn);
  }
}

TEST_CASE("a measurement too far back is not used, and the bound stays one") {
  TokenEstimator estimator;
  MessageList history{words(1000)};
  estimator.learn(estimator.measure({.messages = history}), 300);
  for (int i = 0; i < 32; ++i) history.push_back(words(100));
  CHECK(estimator.measure({.messages = history}).upper_bound == 300 + 32 * 116);
  history.push_back(words(100));
  CHECK(estimator.measure({.messages = history}).upper_bound >= 1000 + 33 * 116);
}

TEST_CASE("calibration moves slowly towards what is measured and stays within its limits") {
  TokenEstimator estimator;
  const ModelRequest request{.messages = {words(40'000)}};
  estimator.learn(estimator.measure(request), 20'000);
  CHECK(estimator.calibration() == doctest::Approx(1.1).epsilon(0.01));
  for (int i = 0; i < 100; ++i) estimator.learn(estimator.measure(request), 1'000'000);
  CHECK(estimator.calibration() == doctest::Approx(3.0));
  for (int i = 0; i < 100; ++i) estimator.learn(estimator.measure(request), 1);
  CHECK(estimator.calibration() == doctest::Approx(0.5));
  const double before = estimator.calibration();
  estimator.learn(estimator.measure(request), 0);
  CHECK(estimator.calibration() == before);
}

TEST_CASE("the identity of a prompt depends on its content alone") {
  const TokenEstimator one;
  const TokenEstimator other;
  CHECK(one.measure({.messages = {words(10)}}).identity ==
        other.measure({.messages = {words(10)}}).identity);
  CHECK(one.measure({.messages = {words(10)}}).identity !=
        one.measure({.messages = {words(11)}}).identity);
  CHECK(
      one.measure({.messages = {store(Message::user("a")), store(Message::user("b"))}}).identity !=
      one.measure({.messages = {store(Message::user("ab"))}}).identity);
}

TEST_CASE("a reply is counted by its text and its calls") {
  CHECK(TokenEstimator::of_text("") == 0);
  CHECK(TokenEstimator::of_text("abcde") == 2);
  CHECK(TokenEstimator::of_reply({.tool_calls = {{.name = "f", .arguments = "{}"}}}) == 6);
}
