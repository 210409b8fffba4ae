#include <doctest/doctest.h>

#include <moderato/llm/providers/openai_error.hpp>
#include <moderato/llm/providers/openai_response.hpp>

using namespace moderato;
using namespace std::chrono_literals;

namespace {

ProviderOutcome read(std::string_view body) {
  ProviderOutcome outcome;
  read_openai_reply(body, outcome);
  return outcome;
}

ErrorCode code_of(int status, std::string_view body) {
  QuotaSignal signal;
  return read_openai_error(status, body, signal).code;
}

}  // namespace

TEST_CASE("a whole answer is read") {
  const auto reply = read(R"({
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello", "refusal": null},
                 "logprobs": null, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21,
              "prompt_tokens_details": {"cached_tokens": 4},
              "completion_tokens_details": {"reasoning_tokens": 5}},
    "system_fingerprint": "fp", "unknown": {"new": [1, 2]}})")
                         .reply;
  REQUIRE(reply);
  CHECK(reply->message == Message::assistant("Hello"));
  CHECK(reply->finish_reason == "stop");
  CHECK(reply->model == "gpt-4o-mini-2024-07-18");
  CHECK(reply->usage == Usage{.input = 9,
                              .output = 12,
                              .cached_input = 4,
                              .reasoning = 5,
                              .source = UsageSource::measured});
}

TEST_CASE("null content with calls is read, and so are arguments that are not JSON or not a text") {
  const auto reply = read(R"({"choices":[{"message":{"content":null,"tool_calls":[
      {"id":"c1","type":"function","function":{"name":"add","arguments":"{broken"}},
      {"type":"function","function":{"name":"sub","arguments":{"a":1}}},
      {"id":null,"function":{}}]},"finish_reason":"tool_calls"}]})")
                         .reply;
  REQUIRE(reply);
  CHECK(reply->message.content.is_null());
  CHECK(reply->message.tool_calls ==
        std::vector<ToolCall>{{.id = "c1", .name = "add", .arguments = "{broken"},
                              {.id = "", .name = "sub", .arguments = R"({"a":1})"},
                              {}});
  CHECK(reply->usage.source == UsageSource::none);
}

TEST_CASE("a legacy call, a refusal and content in parts are read") {
  const auto legacy = read(
      R"({"choices":[{"message":{"content":null,"function_call":{"name":"f","arguments":"{}"}}}]})");
  REQUIRE(legacy.reply);
  CHECK(legacy.reply->message.function_call == FunctionCall{"f", "{}"});

  const auto refusal = read(R"({"choices":[{"message":{"content":null,"refusal":"I cannot"}}]})");
  REQUIRE(refusal.reply);
  CHECK(refusal.reply->message.refusal == "I cannot");
  CHECK(refusal.reply->message.content.is_null());

  const auto parts = read(
      R"({"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"x"},{"text":"b"}]}}]})");
  REQUIRE(parts.reply);
  CHECK(parts.reply->message.content == Content("ab"));
}

TEST_CASE("bytes that are not UTF-8 in an answer become replacement characters") {
  const auto outcome = read("{\"choices\":[{\"message\":{\"content\":\"a\xFF\"}}]}");
  REQUIRE(outcome.reply);
  CHECK(outcome.reply->message.content == Content("a\xEF\xBF\xBD"));
}

TEST_CASE("an answer that is cut, empty or without choices is a protocol error that quotes it") {
  for (const char* body :
       {"", "{\"choices\":[{\"mess", "<html>nginx</html>", "[]", "\"text\"", "42", "null",
        "{\"object\":\"list\"}", "{\"choices\":[]}", "{\"choices\":null}", "{\"choices\":[{}]}",
        "{\"choices\":[7]}", "{\"choices\":[{\"message\":\"hi\"}]"}) {
    CAPTURE(body);
    const auto outcome = read(body);
    REQUIRE(!outcome.reply);
    CHECK(outcome.reply.error().code == ErrorCode::protocol);
    if (*body != '\0') CHECK(outcome.reply.error().message.find(body) != std::string::npos);
  }
  const auto outcome = read("{\"choices\": 1, \"padding\": \"" + std::string(10'000, 'x') + "\"}");
  REQUIRE(!outcome.reply);
  CHECK(outcome.reply.error().message.size() < 400);
}

TEST_CASE("usage is known although the choice is missing") {
  const auto outcome = read(R"({"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":0}})");
  REQUIRE(!outcome.reply);
  REQUIRE(outcome.usage_so_far);
  CHECK(outcome.usage_so_far->input == 5);
}

TEST_CASE("an answer that a filter left empty is an error, one with words is a reply") {
  const auto empty =
      read(R"({"choices":[{"message":{"content":null},"finish_reason":"content_filter"}]})");
  REQUIRE(!empty.reply);
  CHECK(empty.reply.error().code == ErrorCode::content_filtered);
  const auto words =
      read(R"({"choices":[{"message":{"content":"I "},"finish_reason":"content_filter"}]})");
  REQUIRE(words.reply);
  CHECK(words.reply->finish_reason == "content_filter");
}

TEST_CASE("an error inside a good answer is understood") {
  const auto outcome = read(R"({"error":{"message":"slow","code":"rate_limit_exceeded"}})");
  REQUIRE(!outcome.reply);
  CHECK(outcome.reply.error().code == ErrorCode::rate_limited);
}

TEST_CASE("the code of an error decides, then its type, then the status") {
  CHECK(code_of(429, R"({"error":{"message":"m","type":"tokens","code":"rate_limit_exceeded"}})") ==
        ErrorCode::rate_limited);
  CHECK(code_of(429, R"({"error":{"message":"m","type":"requests","code":null}})") ==
        ErrorCode::rate_limited);
  for (const char* code :
       {"insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded", "organization_usage_limit_exceeded"}) {
    CAPTURE(code);
    CHECK(code_of(429, dump_json({{"error", {{"message", "m"}, {"code", code}}}})) ==
          ErrorCode::quota_exhausted);
    CHECK(code_of(429, dump_json({{"error", {{"message", "m"}, {"type", code}}}})) ==
          ErrorCode::quota_exhausted);
  }
  CHECK(code_of(429,
                R"({"error":{"message":"Request too large for x on tokens per min (TPM): Limit )"
                R"(10000, Requested 12000.","type":"tokens","code":"rate_limit_exceeded"}})") ==
        ErrorCode::too_large);
  CHECK(code_of(429, R"({"error":{"message":"m","type":"rate_limit_error","code":"slow_down"}})") ==
        ErrorCode::overloaded);
  CHECK(code_of(503, R"({"error":{"message":"m","type":"service_unavailable_error",)"
                     R"("code":"server_is_overloaded"}})") == ErrorCode::overloaded);
  CHECK(code_of(400, R"({"error":{"message":"m","type":"invalid_request_error",)"
                     R"("code":"context_length_exceeded"}})") == ErrorCode::context_overflow);
  CHECK(code_of(400, R"({"object":"error","message":"This model's maximum context length is 4096",)"
                     R"("type":"BadRequestError","code":400})") == ErrorCode::context_overflow);
  CHECK(code_of(401, R"({"error":{"message":"m","type":"invalid_request_error",)"
                     R"("code":"invalid_api_key"}})") == ErrorCode::authentication);
  CHECK(code_of(404, R"({"error":{"message":"m","code":"model_not_found"}})") ==
        ErrorCode::not_found);
}

TEST_CASE("without code and type the status decides") {
  CHECK(code_of(400, "{}") == ErrorCode::invalid_request);
  CHECK(code_of(401, "{}") == ErrorCode::authentication);
  CHECK(code_of(402, "{}") == ErrorCode::quota_exhausted);
  CHECK(code_of(403, "{}") == ErrorCode::authentication);
  CHECK(code_of(404, "{}") == ErrorCode::not_found);
  CHECK(code_of(408, "{}") == ErrorCode::server_error);
  CHECK(code_of(409, "{}") == ErrorCode::server_error);
  CHECK(code_of(413, "{}") == ErrorCode::too_large);
  CHECK(code_of(418, "{}") == ErrorCode::invalid_request);
  CHECK(code_of(422, "{}") == ErrorCode::invalid_request);
  CHECK(code_of(429, "{}") == ErrorCode::rate_limited);
  CHECK(code_of(500, "") == ErrorCode::server_error);
  CHECK(code_of(502, "<html>") == ErrorCode::server_error);
  CHECK(code_of(503, "") == ErrorCode::overloaded);
  CHECK(code_of(504, "") == ErrorCode::server_error);
  CHECK(code_of(529, "") == ErrorCode::overloaded);
}

TEST_CASE("the words of an error are found in every usual shape") {
  const auto words = [](std::string_view body) { return error_words(400, body).message; };
  CHECK(words(R"({"error":{"message":"words"}})") == "words");
  CHECK(words(R"({"error":"words"})") == "words");
  CHECK(words(R"({"message":"words"})") == "words");
  CHECK(words(R"({"detail":"words"})") == "words");
  CHECK(words(R"({"detail":[{"loc":["body"],"msg":"words"}]})") == "words");
  CHECK(words(R"({"errors":[{"message":"words"}]})") == "words");
  CHECK(words(R"({"errors":["words"]})") == "words");
  CHECK(words(R"([{"error":{"code":429,"message":"words","status":"RESOURCE_EXHAUSTED"}}])") ==
        "words");
  CHECK(words(R"({"fault":{"faultstring":"words"}})") == "words");
  CHECK(words("words\n") == "words");
  CHECK(words("<html>words</html>") == "<html>words</html>");
  CHECK(words("") == "HTTP 400 without a text");
  CHECK(words("{}") == "{}");
  CHECK(words(std::string(100'000, 'x')).size() < 3000);
}

TEST_CASE("a code that only repeats the status is not the provider's code") {
  QuotaSignal signal;
  const Error error = read_openai_error(
      429, R"([{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}])", signal);
  CHECK(error.provider_code == "RESOURCE_EXHAUSTED");
  CHECK(error.code == ErrorCode::rate_limited);
}

TEST_CASE("a refusal's words give the wait and the state of the bucket") {
  QuotaSignal signal;
  const Error error = read_openai_error(
      429,
      R"({"error":{"message":"Rate limit reached for gpt-4o on tokens per min (TPM): Limit 200000, )"
      R"(Used 193762, Requested 7653. Please try again in 424ms.","code":"rate_limit_exceeded"}})",
      signal);
  CHECK(error.retry_after == 424ms);
  REQUIRE(signal.state);
  CHECK(signal.state->used == 193'762);

  QuotaSignal details;
  CHECK(read_openai_error(429, R"({"error":{"message":"m","details":[{"retryDelay":"47s"}]}})",
                          details)
            .retry_after == 47s);
}

TEST_CASE("an excerpt is one line of valid UTF-8 that says how long the whole was") {
  CHECK(excerpt("  a\nb\t ") == "a b");
  CHECK(excerpt("äöü", 3) == "ä… (6 bytes)");
  CHECK(excerpt("\xFF") == "\xEF\xBF\xBD");
  CHECK(excerpt("") == "");
}

TEST_CASE("usage that is not the bill of the answer is no usage") {
  const auto usage = [](std::string counts, std::string text = "a long answer") {
    const auto outcome = read(R"({"choices":[{"message":{"content":")" + text +
                              R"("},"finish_reason":"stop"}],"usage":)" + counts + "}");
    REQUIRE(outcome.reply);
    return outcome.reply->usage;
  };
  const auto none = UsageSource::none;
  CHECK(usage(R"({"prompt_tokens":0,"completion_tokens":0,"total_tokens":0})").source == none);
  CHECK(usage(R"({"prompt_tokens":9,"completion_tokens":0})").source == none);
  CHECK(usage(R"({"prompt_tokens":9})").source == none);
  CHECK(usage(R"({"completion_tokens":9})").source == none);
  CHECK(usage(R"({"prompt_tokens":9,"completion_tokens":0})", "").source == UsageSource::measured);
  CHECK(usage(R"({"prompt_tokens":9,"completion_tokens":4,"total_tokens":40})").output == 31);
  CHECK(usage(R"({"prompt_tokens":9,"total_tokens":40})").output == 31);
  CHECK(usage(R"({"prompt_tokens":9,"completion_tokens":4,"total_tokens":0})").output == 4);
}
