#include <doctest/doctest.h>

#include <moderato/llm/providers/openai_stream.hpp>

using namespace moderato;

namespace {

struct Streamed {
  ProviderOutcome outcome{};
  std::vector<std::string> pieces{};
};

/// Feeds `bytes` in pieces of the given size, and ends the stream.
Streamed stream(std::string_view bytes, std::size_t piece_size = std::string_view::npos) {
  Streamed result;
  OpenAIStream reader([&](std::string_view text) { result.pieces.emplace_back(text); });
  SseParser events;
  Result<void> good;
  while (!bytes.empty() && good) {
    const auto piece = bytes.substr(0, piece_size);
    bytes.remove_prefix(piece.size());
    good = events.feed(piece, [&](const SseEvent& event) { return reader.take(event); });
  }
  reader.finish(std::move(good), result.outcome);
  return result;
}

std::string delta(std::string_view json, std::string_view finish = "null") {
  return "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"model\":\"m-1\",\"choices\":[{"
         "\"index\":0,\"delta\":" +
         std::string(json) + ",\"logprobs\":null,\"finish_reason\":" + std::string(finish) +
         "}]}\n\n";
}

const std::string usage_chunk =
    "data: "
    "{\"model\":\"m-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}"
    "\n\n";
const std::string done = "data: [DONE]\n\n";

}  // namespace

TEST_CASE("a streamed text is given away piece by piece and put together") {
  const auto streamed =
      stream(": keep-alive\n\n" + delta(R"({"role":"assistant","content":""})") +
             delta(R"({"content":"Hel"})") + ": ping\n\n" + delta(R"({"content":"lo ü"})") +
             delta("{}", "\"stop\"") + usage_chunk + done);
  CHECK(streamed.pieces == std::vector<std::string>{"Hel", "lo ü"});
  REQUIRE(streamed.outcome.reply);
  CHECK(streamed.outcome.reply->message == Message::assistant("Hello ü"));
  CHECK(streamed.outcome.reply->finish_reason == "stop");
  CHECK(streamed.outcome.reply->model == "m-1");
  CHECK(streamed.outcome.reply->usage ==
        Usage{.input = 7, .output = 3, .source = UsageSource::measured});
}

TEST_CASE("the same reply comes out wherever the stream is cut, with either line end") {
  const std::string lines =
      delta(R"({"content":"Grüße "})") +
      delta(
          R"({"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{\"a\""}}]})") +
      delta(R"({"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]})") +
      delta("{}", "\"tool_calls\"") + usage_chunk + done;
  std::string crlf;
  for (const char c : lines) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  const auto whole = stream(lines);
  REQUIRE(whole.outcome.reply);
  CHECK(whole.outcome.reply->message.tool_calls ==
        std::vector<ToolCall>{{.id = "c", .name = "f", .arguments = R"({"a":1})"}});
  for (const std::string& bytes : {lines, crlf}) {
    for (std::size_t cut = 1; cut <= bytes.size(); ++cut) {
      const auto streamed = stream(bytes, cut);
      REQUIRE(streamed.outcome.reply);
      REQUIRE(streamed.outcome.reply->message == whole.outcome.reply->message);
      REQUIRE(streamed.outcome.reply->usage == whole.outcome.reply->usage);
      REQUIRE(streamed.pieces == whole.pieces);
    }
  }
}

TEST_CASE("calls are put together by their index") {
  const auto streamed = stream(
      delta(
          R"({"content":null,"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]})") +
      delta(R"({"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"["}}]})") +
      delta(
          R"({"tool_calls":[{"index":0,"function":{"arguments":"{}"}},{"index":1,"function":{"arguments":"]"}}]})") +
      delta("{}", "\"tool_calls\"") + done);
  REQUIRE(streamed.outcome.reply);
  CHECK(streamed.outcome.reply->message.content.is_null());
  CHECK(streamed.outcome.reply->message.tool_calls ==
        std::vector<ToolCall>{{.id = "a", .name = "f", .arguments = "{}"},
                              {.id = "b", .name = "g", .arguments = "[]"}});
}

TEST_CASE("calls of servers that bend the rule are understood") {
  SUBCASE("no index") {
    const auto streamed =
        stream(delta(R"({"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}}]})") +
               delta(R"({"tool_calls":[{"function":{"arguments":"}"}}]})") +
               delta(R"({"tool_calls":[{"id":"b","function":{"name":"g","arguments":"{}"}}]})",
                     "\"stop\""));
    REQUIRE(streamed.outcome.reply);
    CHECK(streamed.outcome.reply->message.tool_calls ==
          std::vector<ToolCall>{{.id = "a", .name = "f", .arguments = "{}"},
                                {.id = "b", .name = "g", .arguments = "{}"}});
  }
  SUBCASE("the same index for whole calls with different ids") {
    const auto streamed = stream(
        delta(R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]})") +
        delta(R"({"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}]})",
              "\"stop\""));
    REQUIRE(streamed.outcome.reply);
    CHECK(streamed.outcome.reply->message.tool_calls.size() == 2);
  }
  SUBCASE("id and name repeated with every piece") {
    const auto streamed = stream(
        delta(R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]})") +
        delta(R"({"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}]})",
              "\"stop\""));
    REQUIRE(streamed.outcome.reply);
    CHECK(streamed.outcome.reply->message.tool_calls ==
          std::vector<ToolCall>{{.id = "a", .name = "f", .arguments = "{}"}});
  }
}

TEST_CASE("a legacy call and a refusal are put together") {
  const auto legacy = stream(delta(R"({"function_call":{"name":"f","arguments":"{"}})") +
                             delta(R"({"function_call":{"arguments":"}"}})", "\"function_call\""));
  REQUIRE(legacy.outcome.reply);
  CHECK(legacy.outcome.reply->message.function_call == FunctionCall{"f", "{}"});
  const auto refusal =
      stream(delta(R"({"refusal":"I can"})") + delta(R"({"refusal":"not"})", "\"stop\"") + done);
  REQUIRE(refusal.outcome.reply);
  CHECK(refusal.outcome.reply->message.refusal == "I cannot");
}

TEST_CASE("an error in mid-stream ends the reply with what the provider said") {
  const auto streamed = stream(delta(R"({"content":"Half an ans"})") + usage_chunk +
                               "data: {\"error\":{\"message\":\"The server is "
                               "overloaded\",\"type\":\"overloaded_error\"}}\n\n");
  REQUIRE(!streamed.outcome.reply);
  const Error& error = streamed.outcome.reply.error();
  CHECK(error.code == ErrorCode::overloaded);
  CHECK(error.message.find("The server is overloaded") != std::string::npos);
  CHECK(error.message.find("Half an ans") != std::string::npos);
  REQUIRE(streamed.outcome.usage_so_far);
  CHECK(streamed.outcome.usage_so_far->total() == 10);

  const auto named = stream("event: error\ndata: {\"message\":\"no\"}\n\n");
  REQUIRE(!named.outcome.reply);
  CHECK(named.outcome.reply.error().message == "no");
}

TEST_CASE("a stream that ends without saying so is a protocol error that shows what came") {
  const auto streamed = stream(delta(R"({"content":"Half an ans"})"));
  REQUIRE(!streamed.outcome.reply);
  CHECK(streamed.outcome.reply.error().code == ErrorCode::protocol);
  CHECK(streamed.outcome.reply.error().message.find("after 11 bytes: Half an ans") !=
        std::string::npos);
  CHECK(stream("").outcome.reply.error().code == ErrorCode::protocol);
}

TEST_CASE("either mark of the end is enough") {
  CHECK(stream(delta(R"({"content":"a"})", "\"stop\"")).outcome.reply);
  CHECK(stream(delta(R"({"content":"a"})") + done).outcome.reply);
}

TEST_CASE("a broken piece of a stream is a protocol error") {
  const auto streamed = stream(delta(R"({"content":"a"})") + "data: {\"choices\":[{\n\n");
  REQUIRE(!streamed.outcome.reply);
  CHECK(streamed.outcome.reply.error().code == ErrorCode::protocol);
}

TEST_CASE("pieces without choices, deltas or known fields are passed over") {
  const auto streamed = stream(
      "data: {\"choices\":[],\"prompt_filter_results\":[{}]}\n\n"
      "data: {\"choices\":[{\"delta\":null}]}\n\ndata: {}\n\ndata: 7\n\n" +
      delta(R"({"reasoning_content":"hm","content":"a"})", "\"stop\"") + done + "data: junk\n\n");
  REQUIRE(streamed.outcome.reply);
  CHECK(streamed.outcome.reply->message == Message::assistant("a"));
  CHECK(streamed.outcome.reply->usage.source == UsageSource::none);
}

TEST_CASE("a reply cannot have calls without bound") {
  std::string bytes;
  for (std::size_t i = 0; i <= OpenAIStream::max_calls; ++i) {
    bytes += delta(R"({"tool_calls":[{"index":)" + std::to_string(i) + R"(,"id":"i)" +
                   std::to_string(i) + R"("}]})");
  }
  const auto streamed = stream(bytes);
  REQUIRE(!streamed.outcome.reply);
  CHECK(streamed.outcome.reply.error().code == ErrorCode::protocol);
}

TEST_CASE("[DONE] alone is no answer") {
  for (const std::string& bytes : {done, usage_chunk + done}) {
    const auto streamed = stream(bytes);
    REQUIRE(!streamed.outcome.reply);
    CHECK(streamed.outcome.reply.error().code == ErrorCode::protocol);
  }
  const auto silent = stream(delta(R"({"role":"assistant"})") + done);
  CHECK(silent.outcome.reply);
}

TEST_CASE("usage of a stream that counts nothing for what was said is no usage") {
  const auto streamed = stream(
      delta(R"({"content":"words"})") +
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":0}}\n\n" + done);
  REQUIRE(streamed.outcome.reply);
  CHECK(streamed.outcome.reply->usage.source == UsageSource::none);
  CHECK_FALSE(streamed.outcome.usage_so_far);
}
