#include <doctest/doctest.h>

#include <algorithm>
#include <moderato/llm/providers/simulated_engine.hpp>
#include <random>

using namespace moderato;
using namespace std::chrono_literals;

namespace {

constexpr QuotaEvaluator evaluators[] = {
    QuotaEvaluator::minute_bucket, QuotaEvaluator::ten_second_bucket,
    QuotaEvaluator::one_second_window, QuotaEvaluator::minute_counter};

Instant at(Duration since_start) {
  return Instant{} + since_start;
}

/// What a provider whose bucket has `used` of `limit` tells a request of `requested`.
std::string stated_wait(std::int64_t limit, std::int64_t used, std::int64_t requested) {
  QuotaMeter meter(limit, QuotaEvaluator::minute_bucket);
  meter.charge(at(0s), used);
  CHECK(!meter.fits(at(0s), requested));
  return quota_duration_text(meter.wait(at(0s), requested));
}

SimulatedRequest request_of(std::int64_t tokens) {
  return {.question = {.model = "gpt-4o"}, .max_tokens = tokens};
}

std::string header(const SimulatedAnswer& answer, std::string_view name) {
  for (const auto& [key, value] : answer.headers) {
    if (key == name) return value;
  }
  return {};
}

/// An admitted request, for the checker.
struct Charge {
  Duration at;
  std::int64_t amount;
};

/// The most that was charged beyond `rate` per minute in any stretch of the history.
double overshoot(const std::vector<Charge>& history, std::int64_t per_minute) {
  double worst = 0;
  for (std::size_t first = 0; first < history.size(); ++first) {
    double sum = 0;
    for (std::size_t last = first; last < history.size(); ++last) {
      sum += static_cast<double>(history[last].amount);
      const double minutes =
          std::chrono::duration<double, std::ratio<60>>(history[last].at - history[first].at)
              .count();
      worst = std::max(worst, sum - minutes * static_cast<double>(per_minute));
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("a refusal's wait follows the law that the messages of real providers obey") {
  CHECK(stated_wait(200'000, 193'762, 7653) == "425ms");  // 424.5 ms, rounded up
  CHECK(stated_wait(10'000, 8782, 8172) == "41.724s");
  CHECK(stated_wait(400'000, 248'785, 312'683) == "24.221s");
  CHECK(stated_wait(500, 500, 1) == "120ms");
  CHECK(stated_wait(3, 3, 1) == "20s");
  CHECK(stated_wait(5000, 5747, 4251) == "59.976s");
}

TEST_CASE("durations are written as OpenAI writes them") {
  CHECK(quota_duration_text(0s) == "0ms");
  CHECK(quota_duration_text(1ns) == "1ms");
  CHECK(quota_duration_text(999ms) == "999ms");
  CHECK(quota_duration_text(1s) == "1s");
  CHECK(quota_duration_text(59'999ms) == "59.999s");
  CHECK(quota_duration_text(6min) == "6m0s");
  CHECK(quota_duration_text(179'560ms) == "2m59.56s");
}

TEST_CASE("a bucket fills evenly, and a request that waited as it was told fits") {
  std::mt19937 random(7);
  for (const QuotaEvaluator evaluator : evaluators) {
    CAPTURE(to_string(evaluator));
    QuotaMeter meter(600, evaluator);
    Duration now{};
    for (int i = 0; i < 2000; ++i) {
      now += std::chrono::microseconds(random() % 400'000);
      const auto amount = static_cast<std::int64_t>(1 + random() % 60);
      if (!meter.fits(at(now), amount)) {
        now += meter.wait(at(now), amount);
        REQUIRE(meter.fits(at(now), amount));
      }
      meter.charge(at(now), amount);
    }
  }
}

TEST_CASE("no history of admitted requests breaks the law of its bucket") {
  for (const auto& [evaluator, burst] : {std::pair(QuotaEvaluator::minute_bucket, 6000.0),
                                         std::pair(QuotaEvaluator::ten_second_bucket, 1000.0)}) {
    for (unsigned seed = 1; seed <= 5; ++seed) {
      std::mt19937 random(seed);
      SimulatedQuota quota({.tokens_per_minute = 6000, .evaluator = evaluator});
      std::vector<Charge> history;
      for (Duration now{}; now < 3min; now += std::chrono::milliseconds(random() % 300)) {
        const auto amount = static_cast<std::int64_t>(1 + random() % 200);
        if (!quota.admit(at(now), amount)) history.push_back({now, amount});
      }
      CHECK(overshoot(history, 6000) <= burst + 1.0);
      CHECK(overshoot(history, 6000) > burst - 200.0);  // and the whole quota can be used
    }
  }
}

TEST_CASE("the windows hold their share in each window and forget it at its end") {
  SimulatedQuota second(
      {.requests_per_minute = 600, .evaluator = QuotaEvaluator::one_second_window});
  for (int i = 0; i < 10; ++i) CHECK(!second.admit(at(500ms), 1));
  const auto eleventh = second.admit(at(500ms), 1);
  REQUIRE(eleventh);
  CHECK(eleventh->wait == 500ms);
  CHECK(!second.admit(at(1s), 1));

  SimulatedQuota minute({.requests_per_minute = 3, .evaluator = QuotaEvaluator::minute_counter});
  for (int i = 0; i < 3; ++i) CHECK(!minute.admit(at(59s), 1));
  CHECK(minute.admit(at(59s), 1)->wait == 1s);
  CHECK(!minute.admit(at(60s), 1));
}

TEST_CASE("a request above the bucket's capacity passes when nothing is used and leaves debt") {
  SimulatedQuota quota({.tokens_per_minute = 6000, .evaluator = QuotaEvaluator::ten_second_bucket});
  CHECK(!quota.admit(at(0s), 3000));  // the bucket holds 1000
  CHECK(quota.admit(at(0s), 1)->wait == 20'010ms);
  CHECK(quota.admit(at(20s), 3000));
  CHECK(!quota.admit(at(30s), 3000));
}

TEST_CASE("time that goes back gives nothing") {
  QuotaMeter meter(60, QuotaEvaluator::minute_bucket);
  meter.charge(at(10s), 60);
  CHECK(meter.remaining(at(5s)) == 0);
  CHECK(meter.remaining(at(11s)) == 1);
}

TEST_CASE("all dimensions are charged together or not at all") {
  SimulatedQuota quota({.requests_per_minute = 2, .tokens_per_minute = 100});
  CHECK(!quota.admit(at(0s), 90));
  const auto tokens = quota.admit(at(0s), 50);
  REQUIRE(tokens);
  CHECK(tokens->dimension == "tokens");
  CHECK(!quota.admit(at(0s), 10));  // the refused one took no request
  CHECK(quota.admit(at(0s), 0)->dimension == "requests");
}

TEST_CASE("a slot in flight is free again when its request is over") {
  SimulatedQuota quota({.max_in_flight = 2});
  CHECK(!quota.admit(at(0s), 1));
  CHECK(!quota.admit(at(0s), 1));
  CHECK(quota.admit(at(0s), 1)->dimension == "concurrency");
  quota.release();
  CHECK(!quota.admit(at(0s), 1));
}

TEST_CASE("where rejects are charged, hammering gets nothing; where they are free it gets all") {
  for (const bool charged : {false, true}) {
    SimulatedQuota quota({.requests_per_minute = 60, .rejects_charged = charged});
    int admitted = 0;
    for (Duration now{}; now < 10min; now += 100ms) admitted += quota.admit(at(now), 1) ? 0 : 1;
    CAPTURE(charged);
    if (charged) {
      CHECK(admitted < 70);  // what was there at the start
    } else {
      CHECK(admitted >= 655);  // that, and ten minutes of refill
    }
  }
}

TEST_CASE("a 429 is worded as OpenAI words it, with the numbers of its law and the headers") {
  SimulatedEngine engine({.quota = {.requests_per_minute = 500, .tokens_per_minute = 200'000}});
  const auto first = engine.answer(at(0s), request_of(193'762));
  CHECK(first.status == 200);
  CHECK(header(first, "x-ratelimit-limit-requests") == "500");
  CHECK(header(first, "x-ratelimit-remaining-requests") == "499");
  CHECK(header(first, "x-ratelimit-reset-requests") == "120ms");
  CHECK(header(first, "x-ratelimit-remaining-tokens") == "6238");
  CHECK(header(first, "x-ratelimit-reset-tokens") == "58.129s");

  const auto refused = engine.answer(at(0s), request_of(7653));
  CHECK(refused.status == 429);
  CHECK(!refused.admitted);
  CHECK(refused.error_body ==
        R"({"error":{"message":"Rate limit reached for gpt-4o in organization org-simulated on )"
        R"(tokens per min (TPM): Limit 200000, Used 193762, Requested 7653. Please try again in )"
        R"(425ms.","type":"tokens","param":null,"code":"rate_limit_exceeded"}})");
  CHECK(header(refused, "retry-after-ms") == "425");
  CHECK(header(refused, "retry-after") == "1");
  CHECK(header(refused, "x-ratelimit-remaining-tokens") == "6238");
}

TEST_CASE("a request that can never fit is told so and not told to wait") {
  SimulatedEngine engine({.quota = {.tokens_per_minute = 1000}});
  const auto refused = engine.answer(at(0s), request_of(1001));
  CHECK(refused.status == 429);
  CHECK(refused.error_body.find("Request too large for gpt-4o in organization org-simulated on "
                                "tokens per min (TPM): Limit 1000, Requested 1001.") !=
        std::string::npos);
  CHECK(refused.error_body.find("Used") == std::string::npos);
  CHECK(header(refused, "retry-after").empty());
  CHECK(engine.stats().refused.at("too_large") == 1);
}

TEST_CASE("the bucket of 10 s states numbers for which the law of the minute holds") {
  SimulatedEngine engine(
      {.quota = {.tokens_per_minute = 60'000, .evaluator = QuotaEvaluator::ten_second_bucket}});
  const auto first = engine.answer(at(0s), request_of(9000));
  CHECK(header(first, "x-ratelimit-remaining-tokens") == "1000");
  const auto refused = engine.answer(at(0s), request_of(4000));
  CHECK(
      refused.error_body.find("Limit 60000, Used 59000, Requested 4000. Please try again in 3s.") !=
      std::string::npos);
}

TEST_CASE("the one-second window refuses with Azure's words, which give no state") {
  SimulatedEngine engine(
      {.quota = {.requests_per_minute = 60, .evaluator = QuotaEvaluator::one_second_window}});
  CHECK(engine.answer(at(0s), request_of(1)).status == 200);
  const auto refused = engine.answer(at(250ms), request_of(1));
  CHECK(refused.error_body.find("Please retry after 1 second.") != std::string::npos);
  CHECK(refused.error_body.find(R"("code":"429")") != std::string::npos);
  CHECK(refused.error_body.find("Used") == std::string::npos);
  CHECK(header(refused, "retry-after-ms") == "750");
}

TEST_CASE("a request is charged with the larger of its prompt and its output cap") {
  SimulatedEngine engine({.quota = {.tokens_per_minute = 1000}});
  SimulatedRequest request = request_of(10);
  request.prompt_characters = 400;
  request.messages = 2;
  CHECK(header(engine.answer(at(0s), request), "x-ratelimit-remaining-tokens") == "892");
  request.max_tokens = 300;
  CHECK(header(engine.answer(at(0s), request), "x-ratelimit-remaining-tokens") == "592");
}

TEST_CASE("prompts and output caps can have limits of their own") {
  SimulatedQuota quota({.input_tokens_per_minute = 100, .output_tokens_per_minute = 50});
  CHECK_FALSE(quota.admit(at(0s), 60, 10));
  const auto input = quota.admit(at(0s), 60, 10);
  REQUIRE(input);
  CHECK(input->dimension == "input_tokens");
  CHECK(input->wait == 12s);
  const auto output = quota.admit(at(0s), 10, 45);
  REQUIRE(output);
  CHECK(output->dimension == "output_tokens");
  CHECK_FALSE(quota.admit(at(0s), 40, 40));
}

TEST_CASE("what others take of the key is not there for us, and they stop at the limit, too") {
  SimulatedQuota quota({.requests_per_minute = 60, .foreign_requests_per_minute = 30});
  int admitted = 0;
  for (int second = 0; second <= 600; ++second) {
    while (!quota.admit(at(std::chrono::seconds(second)), 1)) {
      ++admitted;
      quota.release();
    }
  }
  CHECK(admitted >= 60 + 290);
  CHECK(admitted <= 60 + 310);

  SimulatedQuota greedy({.requests_per_minute = 60, .foreign_requests_per_minute = 6000});
  CHECK_FALSE(greedy.admit(at(0s), 1));
  CHECK(greedy.admit(at(60s), 1));
  CHECK(greedy.headers(at(60s))[1].second == "0");  // never below
}

TEST_CASE("a limit changes while the provider runs") {
  SimulatedQuota quota({.requests_per_minute = 60,
                        .tokens_per_minute = 1000,
                        .changes = {{.after = 60s, .requests_per_minute = 6},
                                    {.after = 120s, .tokens_per_minute = 50}}});
  CHECK_FALSE(quota.admit(at(10s), 1));  // from here it counts
  CHECK(quota.headers(at(69s))[0].second == "60");
  CHECK(quota.headers(at(70s))[0].second == "6");
  CHECK(quota.headers(at(70s))[3].second == "1000");
  CHECK(quota.headers(at(130s))[3].second == "50");
  CHECK(quota.admit(at(130s), 60)->too_large);
}

TEST_CASE("what is left can be stated roughly") {
  SimulatedQuota quota({.tokens_per_minute = 10'000, .round_remaining_tokens = 1000});
  CHECK_FALSE(quota.admit(at(0s), 1400));
  CHECK(quota.headers(at(0s))[1].second == "9000");
  CHECK_FALSE(quota.admit(at(0s), 200));
  CHECK(quota.headers(at(0s))[1].second == "8000");
}

TEST_CASE("headers can tell what was true some time before") {
  SimulatedQuota quota({.requests_per_minute = 60, .headers_late_by = 5s});
  const auto left_at = [&](Duration now) {
    CHECK(!quota.admit(at(now), 10));
    for (const auto& [name, value] : quota.headers(at(now))) {
      if (name == "x-ratelimit-remaining-requests") return std::stoi(value);
    }
    return -1;
  };
  CHECK(left_at(0s) == 59);
  CHECK(left_at(0s) == 59);  // nothing was told before
  CHECK(left_at(4999ms) == 59);
  CHECK(left_at(5s) == 58);  // the second request's
}

TEST_CASE("a provider with an acceleration limit refuses traffic that grows too fast, in words") {
  SimulatedEngine engine({.quota = {.acceleration = 2, .acceleration_floor = 5}});
  const auto admitted = [&](Duration now, int requests) {
    int count = 0;
    for (int i = 0; i < requests; ++i) count += engine.answer(at(now), request_of(1)).status == 200;
    return count;
  };
  CHECK(admitted(0s, 20) == 5);
  CHECK(admitted(10s, 20) == 10);
  CHECK(admitted(20s, 20) == 20);
  CHECK(admitted(60s, 20) == 5);  // it had stopped
  const SimulatedAnswer refused = engine.answer(at(61s), request_of(1));
  CHECK(refused.status == 429);
  CHECK(refused.error_body.find("acceleration limit") != std::string::npos);
  CHECK(header(refused, "retry-after").empty());
}

TEST_CASE("the log has each request with what was decided") {
  std::vector<int> seen;
  Duration last{};
  SimulatedEngine engine(
      {.quota = {.requests_per_minute = 1}, .log = [&](const SimulatedLogEntry& entry) {
         seen.push_back(entry.status);
         last = entry.at.time_since_epoch();
         CHECK(entry.output == 7);
       }});
  (void)engine.answer(at(1s), request_of(7));
  (void)engine.answer(at(2s), request_of(7));
  CHECK(seen == std::vector<int>{200, 429});
  CHECK(last == 2s);
}

TEST_CASE("evaluators are known by their names") {
  for (const QuotaEvaluator evaluator : evaluators) {
    CHECK(quota_evaluator_from_string(to_string(evaluator)) == evaluator);
  }
  CHECK(!quota_evaluator_from_string("hourly"));
}
