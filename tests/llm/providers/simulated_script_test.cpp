#include <doctest/doctest.h>

#include <moderato/llm/providers/simulated_script.hpp>

using namespace moderato;
using namespace std::chrono_literals;

namespace {

std::string built_in(std::string_view model, std::int64_t replies_so_far,
                     std::string_view last = "hello") {
  return SimulatedScript()
      .answer({.model = model,
               .replies_so_far = replies_so_far,
               .last_role = "user",
               .last_text = last})
      .text;
}

std::string error_of_script(std::string_view text) {
  const auto script = SimulatedScript::from_json(text, "rules.json");
  REQUIRE(!script);
  CHECK(script.error().code == ErrorCode::configuration);
  return script.error().message;
}

}  // namespace

TEST_CASE("pingpong-N says TERMINATE with the N-th reply of a conversation and not before") {
  CHECK(built_in("pingpong-3", 0) == "Reply 1.");
  CHECK(built_in("pingpong-3", 1) == "Reply 2.");
  CHECK(built_in("pingpong-3", 2) == "Reply 3. TERMINATE");
  CHECK(built_in("pingpong-3", 3) == "Reply 4. TERMINATE");
  CHECK(built_in("pingpong-1", 0) == "Reply 1. TERMINATE");
}

TEST_CASE("tokens-N says N words, and echo says the last message again") {
  CHECK(built_in("tokens-3", 5) == "word word word");
  CHECK(built_in("echo", 5, "what was said") == "what was said");
}

TEST_CASE("review ends with TERMINATE after some turns, and any other model does as it does") {
  for (const char* model : {"review", "gpt-4o", "tokens-0", "pingpong-x"}) {
    CAPTURE(model);
    CHECK(built_in(model, 0) == built_in("review", 0));
  }
  std::int64_t turns = 0;
  while (turns < 10 && built_in("review", turns).find("TERMINATE") == std::string::npos) ++turns;
  CHECK(turns > 1);
  CHECK(turns < 5);
  CHECK(built_in("review", 100) == built_in("review", turns));
}

TEST_CASE("weather calls the tool that is offered and then answers from its result") {
  const SimulatedScript script;
  const auto call = script.answer({.model = "weather", .last_role = "user", .tool = "get_weather"});
  REQUIRE(call.tool_calls.size() == 1);
  CHECK(call.tool_calls[0].name == "get_weather");
  CHECK(call.text.empty());
  const auto answer = script.answer({.model = "weather",
                                     .replies_so_far = 1,
                                     .last_role = "tool",
                                     .last_text = "3 degrees and rain",
                                     .tool = "get_weather"});
  CHECK(answer.tool_calls.empty());
  CHECK(answer.text.find("3 degrees and rain") != std::string::npos);
  CHECK(script.answer({.model = "weather", .last_role = "user"}).tool_calls.empty());
}

TEST_CASE("in a script file the first rule whose conditions all hold answers") {
  const auto script = SimulatedScript::from_json(R"({"rules": [
    {"when": {"contains": "weather", "turn": 1},
     "tool_calls": [{"name": "get_weather", "arguments": {"city": "Oslo"}},
                    {"name": "broken", "arguments": "{not json"}]},
    {"when": {"role": "tool"}, "reply": "It rains.", "delay_ms": 250},
    {"when": {"model": "gpt-5"}, "error": {"status": 429, "type": "requests", "code": "slow_down",
     "message": "Slower.", "headers": {"retry-after": "20"}}}]})");
  REQUIRE(script);

  const auto call =
      script->answer({.model = "gpt-4o", .last_role = "user", .last_text = "the weather?"});
  REQUIRE(call.tool_calls.size() == 2);
  CHECK(call.tool_calls[0] == ToolCall{"call_1", "get_weather", R"({"city":"Oslo"})"});
  CHECK(call.tool_calls[1] == ToolCall{"call_2", "broken", "{not json"});

  const auto rain = script->answer({.last_role = "tool", .last_text = "the weather"});
  CHECK(rain.tool_calls.size() == 2);  // the first rule holds, too
  const auto later =
      script->answer({.replies_so_far = 1, .last_role = "tool", .last_text = "the weather"});
  CHECK(later.text == "It rains.");
  CHECK(later.delay == 250ms);

  const auto error = script->answer({.model = "gpt-5", .last_role = "user"}).error;
  REQUIRE(error);
  CHECK(error->status == 429);
  CHECK(error->type == "requests");
  CHECK(error->code == "slow_down");
  CHECK(error->headers.at(0) == std::pair<std::string, std::string>("retry-after", "20"));

  CHECK(script->answer({.model = "pingpong-1", .last_role = "user"}).text == "Reply 1. TERMINATE");
}

TEST_CASE("a wrong script file is refused with the rule and the member that are wrong") {
  CHECK(error_of_script("{").find("rules.json") != std::string::npos);
  CHECK(error_of_script("[]") == "rules.json must be an object");
  CHECK(error_of_script("{}") == R"(rules.json: "rules" must be an array)");
  CHECK(error_of_script(R"({"rules": [], "rule": 1})") ==
        R"(rules.json: unknown member "rule"; known are rules)");
  CHECK(error_of_script(R"({"rules": [{"reply": "a"}, {"replay": "b"}]})")
            .find(R"(rules[1]: unknown member "replay")") != std::string::npos);
  CHECK(error_of_script(R"({"rules": [{"when": {"turn": "1"}, "reply": "a"}]})") ==
        "rules.json: rules[0].when.turn must be a whole number from 0");
  CHECK(error_of_script(R"({"rules": [{"when": []}]})") ==
        "rules.json: rules[0].when must be an object");
  CHECK(error_of_script(R"({"rules": [{"reply": 5}]})") ==
        "rules.json: rules[0].reply must be a text");
  CHECK(error_of_script(R"({"rules": [{"delay_ms": 5}]})") ==
        "rules.json: rules[0] must have one of reply, tool_calls and error");
  CHECK(error_of_script(R"({"rules": [{"reply": "a", "error": {"status": 500}}]})") ==
        "rules.json: rules[0] must have one of reply, tool_calls and error");
  CHECK(error_of_script(R"({"rules": [{"tool_calls": [{"arguments": {}}]}]})") ==
        "rules.json: rules[0].tool_calls[0] has no name");
  CHECK(error_of_script(R"({"rules": [{"error": {"status": 200}}]})") ==
        "rules.json: rules[0].error.status must lie between 400 and 599");
  CHECK(error_of_script(R"({"rules": [{"error": {"status": 429, "headers": {"a": 1}}}]})") ==
        "rules.json: rules[0].error.headers.a must be a text");
}
