#include <doctest/doctest.h>

#include <moderato/llm/providers/quota_signals.hpp>

using namespace moderato;
using namespace std::chrono_literals;

namespace {

std::optional<std::int64_t> milliseconds_of(std::string_view text) {
  const auto duration = parse_quota_duration(text);
  if (!duration) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::milliseconds>(*duration).count();
}

QuotaSignal signal_of(std::initializer_list<std::string_view> lines) {
  HttpHeaders headers;
  for (const auto line : lines) headers.add_line(line);
  return quota_signal(headers, WallTime{});
}

}  // namespace

TEST_CASE("durations are read as providers write them and rounded up to a millisecond") {
  CHECK(milliseconds_of("6m0s") == 360'000);
  CHECK(milliseconds_of("1s") == 1000);
  CHECK(milliseconds_of("88ms") == 88);
  CHECK(milliseconds_of("12ms") == 12);
  CHECK(milliseconds_of("2m59.56s") == 179'560);
  CHECK(milliseconds_of("1h2m3s") == 3'723'000);
  CHECK(milliseconds_of("7.66s") == 7660);
  CHECK(milliseconds_of("114h18m0s") == 411'480'000);
  CHECK(milliseconds_of("0s") == 0);
  CHECK(milliseconds_of("1.5ms") == 2);
  CHECK(milliseconds_of("250us") == 1);
  CHECK(milliseconds_of("1500µs") == 2);
  CHECK(milliseconds_of("33011.382867") == 33'011'383);
  CHECK(milliseconds_of("20") == 20'000);
  CHECK(milliseconds_of("34.074824224s") == 34'075);
}

TEST_CASE("what is no duration is not taken for one") {
  for (const char* text : {"-1s", "soon", "", "1e3s", "5x", "NaN", "inf", "1s2", "20 s", ".5s",
                           "1..5s", "999999999999999999999h", "100000h"}) {
    CAPTURE(text);
    CHECK(milliseconds_of(text) == std::nullopt);
  }
}

TEST_CASE("dates are waits counted from the response's own Date header") {
  const auto noon = parse_http_date("2026-07-25T12:00:00Z");
  REQUIRE(noon);
  CHECK(parse_wait("2026-07-25T12:05:00Z", *noon) == 300s);
  CHECK(parse_wait("2026-07-25T14:05:00+02:00", *noon) == 300s);
  CHECK(parse_wait("2026-07-25T11:59:00Z", *noon) == 0s);
  CHECK(parse_wait("Sat, 25 Jul 2026 12:00:07 GMT", *noon) == 7s);
  CHECK(parse_wait("3", *noon) == 3s);
  CHECK(parse_wait("Sat, 25 Foo 2026 12:00:07 GMT", *noon) == std::nullopt);
  CHECK(parse_wait("2026-13-25T12:05:00Z", *noon) == std::nullopt);

  // Our own clock (1970 here) plays no part.
  const auto signal = signal_of(
      {"Date: Sat, 25 Jul 2026 12:00:00 GMT", "Retry-After: Sat, 25 Jul 2026 12:00:30 GMT"});
  CHECK(signal.retry_after == 30s);
}

TEST_CASE("retry-after-ms wins over retry-after") {
  CHECK(signal_of({"retry-after-ms: 250", "retry-after: 3"}).retry_after == 250ms);
  CHECK(signal_of({"retry-after: 3"}).retry_after == 3s);
  CHECK(signal_of({"retry-after: 1.5"}).retry_after == 1500ms);
}

TEST_CASE("a retry-after in the past is no hint") {
  CHECK(signal_of(
            {"Date: Sat, 25 Jul 2026 12:00:00 GMT", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"})
            .retry_after == std::nullopt);
}

TEST_CASE("x-should-retry is read, and nothing else is taken for it") {
  CHECK(signal_of({"x-should-retry: false"}).should_retry == false);
  CHECK(signal_of({"X-Should-Retry: true"}).should_retry == true);
  CHECK(signal_of({"x-should-retry: maybe"}).should_retry == std::nullopt);
}

TEST_CASE("quota headers are found by their prefix, whatever the dimension") {
  const auto signal = signal_of(
      {"x-ratelimit-limit-requests: 5000", "x-ratelimit-remaining-requests: 4999",
       "x-ratelimit-reset-requests: 12ms", "X-RateLimit-Limit-tokens_usage_based: 10000",
       "anthropic-ratelimit-input-tokens-remaining: 1000", "x-ratelimit-limit-: 1", "server: x"});
  REQUIRE(signal.headers.size() == 3);
  CHECK(signal.headers[0].dimension == "requests");
  CHECK(signal.headers[0].limit == 5000);
  CHECK(signal.headers[0].remaining == 4999);
  CHECK(signal.headers[0].reset == 12ms);
  CHECK(signal.headers[1].dimension == "tokens_usage_based");
  CHECK(signal.headers[1].limit == 10'000);
  CHECK(signal.headers[1].remaining == std::nullopt);
  CHECK(signal.headers[2].dimension == "input-tokens");
  CHECK(signal.headers[2].remaining == 1000);
}

TEST_CASE("a response without quota headers says nothing") {
  const auto signal = signal_of({"content-type: application/json"});
  CHECK(signal.headers.empty());
  CHECK(!signal.state);
  CHECK(!signal.retry_after);
}

TEST_CASE("the wait in an error's words is found in each usual form") {
  CHECK(wait_in_text("Please try again in 41.724s. Visit https://x.") == 41'724ms);
  CHECK(wait_in_text("Please try again in 424ms.") == 424ms);
  CHECK(wait_in_text("Please try again in 20s") == 20s);
  CHECK(wait_in_text("Please try again in 6m0s.") == 360s);
  CHECK(wait_in_text("Please try again in 114h18m0s.") == std::chrono::hours(114) + 18min);
  CHECK(wait_in_text("Please retry after 3 seconds.") == 3s);
  CHECK(wait_in_text("please try again after 1 seconds") == 1s);
  CHECK(wait_in_text(R"({"details":[{"retryDelay": "34.074824224s"}]})") == 34'075ms);
  CHECK(wait_in_text("Please try again in a moment") == std::nullopt);
  CHECK(wait_in_text("nothing") == std::nullopt);
}

TEST_CASE("the state of the bucket is read from a refusal's words") {
  struct Vector {
    const char* text;
    const char* dimension;
    std::int64_t limit, used, requested;
  };
  const Vector vectors[] = {
      {"Rate limit reached for gpt-4o-mini in organization org-x on tokens per min (TPM): Limit "
       "200000, Used 193762, Requested 7653. Please try again in 424ms.",
       "tokens", 200'000, 193'762, 7653},
      {"Rate limit reached for x on tokens_usage_based per min: Limit 10000, Used 8782, Requested "
       "8172. Please try again in 41.724s.",
       "tokens_usage_based", 10'000, 8782, 8172},
      {"Rate limit reached for gpt-4 in organization o on requests per min (RPM): Limit 500, Used "
       "500, Requested 1. Please try again in 120ms.",
       "requests", 500, 500, 1},
      {"Rate limit reached for default in organization org on requests per min. Limit: 3 / min. "
       "Please try again in 20s.",
       "requests", 3, 0, 0},
      {"Rate limit reached for model `llama3` in organization `org` on tokens per minute (TPM): "
       "Limit 5000, Used 5747, Requested ~4251. Please try again in 59.977s.",
       "tokens", 5000, 5747, 4251},
      {"Rate limit reached for x on requests per day (RPD): Limit 14400, Used 14400, Requested 1.",
       "requests_per_day", 14'400, 14'400, 1},
  };
  for (const Vector& vector : vectors) {
    CAPTURE(vector.text);
    const auto state = quota_state_in_text(vector.text);
    REQUIRE(state);
    CHECK(state->dimension == vector.dimension);
    CHECK(state->limit == vector.limit);
    CHECK(state->used == vector.used);
    CHECK(state->requested == vector.requested);
  }
  CHECK(!quota_state_in_text("You exceeded your current quota, please check your plan"));
}

TEST_CASE("the stated wait is the law of the continuous bucket") {
  const auto state =
      quota_state_in_text("on tokens per min (TPM): Limit 200000, Used 193762, Requested 7653.");
  REQUIRE(state);
  const double seconds = static_cast<double>(state->used + state->requested - state->limit) * 60 /
                         static_cast<double>(state->limit);
  CHECK(seconds == doctest::Approx(0.4245));
}

TEST_CASE("a request that alone exceeds the quota is told from one that comes too early") {
  CHECK(says_request_too_large(
      "Request too large for gpt-4 in organization o on tokens per min (TPM): Limit 10000, "
      "Requested 12000. The input or output tokens must be reduced."));
  CHECK_FALSE(
      says_request_too_large("Rate limit reached for x on tokens per min (TPM): Limit 10000, Used "
                             "9000, Requested 12000."));
  CHECK_FALSE(says_request_too_large("Request too large"));
}

TEST_CASE("a header's hint wins over the text's") {
  auto signal = signal_of({"retry-after: 3"});
  add_error_text(signal, "Limit 10, Used 10, Requested 1. Please try again in 6s.");
  CHECK(signal.retry_after == 3s);
  REQUIRE(signal.state);
  CHECK(signal.state->limit == 10);
}
