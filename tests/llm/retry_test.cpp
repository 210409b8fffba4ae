#include <doctest/doctest.h>

#include <llm/fake_provider.hpp>
#include <moderato/llm/retry.hpp>

using namespace moderato;
using namespace moderato::test;
using namespace std::chrono_literals;

TEST_CASE("what may pass by itself is worth another attempt, what is wrong for good is not") {
  for (const ErrorCode code :
       {ErrorCode::rate_limited, ErrorCode::overloaded, ErrorCode::server_error,
        ErrorCode::connection, ErrorCode::timeout, ErrorCode::protocol}) {
    CAPTURE(to_string(code));
    CHECK(worth_retrying(failure(code)));
  }
  for (const ErrorCode code :
       {ErrorCode::invalid_request, ErrorCode::configuration, ErrorCode::authentication,
        ErrorCode::not_found, ErrorCode::context_overflow, ErrorCode::too_large,
        ErrorCode::quota_exhausted, ErrorCode::tls, ErrorCode::deadline_exceeded,
        ErrorCode::cancelled, ErrorCode::content_filtered, ErrorCode::internal}) {
    CAPTURE(to_string(code));
    CHECK_FALSE(worth_retrying(failure(code)));
  }
}

TEST_CASE("x-should-retry forbids, and permits what is not for ever") {
  ProviderOutcome forbidden = failure(ErrorCode::server_error, 500);
  forbidden.quota.should_retry = false;
  CHECK_FALSE(worth_retrying(forbidden));
  ProviderOutcome permitted = failure(ErrorCode::invalid_request, 400);
  permitted.quota.should_retry = true;
  CHECK(worth_retrying(permitted));
  ProviderOutcome billing = failure(ErrorCode::quota_exhausted, 429);
  billing.quota.should_retry = true;
  CHECK_FALSE(worth_retrying(billing));
  ProviderOutcome too_large = failure(ErrorCode::too_large, 429);
  too_large.quota.should_retry = true;
  CHECK_FALSE(worth_retrying(too_large));
  ProviderOutcome cancelled = failure(ErrorCode::cancelled);
  cancelled.quota.should_retry = true;
  CHECK_FALSE(worth_retrying(cancelled));
}

TEST_CASE("a hint is never undercut, and a tenth of it and a quarter second is added by chance") {
  const auto delay = [](Duration hint, double random) {
    return retry_delay({}, failure(ErrorCode::rate_limited, 429, hint).reply.error(), 1, random);
  };
  CHECK(delay(10s, 0.0) == 10s);
  CHECK(delay(10s, 0.5) == 10'625ms);
  CHECK(delay(100s, 0.5) == 102'500ms);  // never more than 5 s are added
  CHECK(delay(1ms, 0.999) < 252ms);
}

TEST_CASE("without a hint the delay is drawn from a range that doubles up to its limit") {
  const RetryOptions options{.base_delay = 1s, .max_delay = 30s};
  const auto delay = [&](int failed, double random, ErrorCode code = ErrorCode::server_error) {
    return retry_delay(options, failure(code, 500).reply.error(), failed, random);
  };
  CHECK(delay(1, 0.0) == 0s);
  CHECK(delay(1, 0.5) == 500ms);
  CHECK(delay(2, 0.5) == 1s);
  CHECK(delay(3, 0.5) == 2s);
  CHECK(delay(9, 0.5) == 15s);
  CHECK(delay(1000, 0.5) == 15s);
  CHECK(delay(1, 0.5, ErrorCode::overloaded) == 1s);
}

TEST_CASE("a hint of zero is no hint") {
  CHECK(retry_delay({}, failure(ErrorCode::rate_limited, 429, 0s).reply.error(), 1, 0.5) == 500ms);
}

TEST_CASE(
    "an attempt that was refused before any work costs nothing, any other may have cost all") {
  const auto spending = [](ProviderOutcome outcome) { return spending_of_failure(outcome); };
  CHECK(spending(failure(ErrorCode::rate_limited, 429)) == Spending::none);
  CHECK(spending(failure(ErrorCode::server_error, 500)) == Spending::none);
  CHECK(spending(failure(ErrorCode::invalid_request, 400)) == Spending::none);
  CHECK(spending(failure(ErrorCode::rate_limited, 200)) == Spending::none);
  CHECK(spending(failure(ErrorCode::protocol, 200)) == Spending::unknown);
  CHECK(spending(failure(ErrorCode::server_error, 200)) == Spending::unknown);
  CHECK(spending(failure(ErrorCode::timeout)) == Spending::unknown);
  CHECK(spending(failure(ErrorCode::cancelled)) == Spending::unknown);
  ProviderOutcome not_sent = failure(ErrorCode::connection);
  not_sent.reached = Reached::nothing;
  CHECK(spending(not_sent) == Spending::none);
  ProviderOutcome begun = failure(ErrorCode::overloaded, 200);
  begun.time_to_first_token = 1s;
  CHECK(spending(begun) == Spending::unknown);
}

TEST_CASE("the limiter is told what the end of an attempt means for the quota") {
  const auto kind = [](const ProviderOutcome& outcome) {
    return limiter_outcome(outcome, {}).kind;
  };
  CHECK(kind(answer("hi")) == Outcome::Kind::succeeded);
  CHECK(kind(failure(ErrorCode::rate_limited, 429)) == Outcome::Kind::rejected);
  CHECK(kind(failure(ErrorCode::quota_exhausted, 429)) == Outcome::Kind::rejected);
  CHECK(kind(failure(ErrorCode::too_large, 429)) == Outcome::Kind::rejected);
  CHECK(kind(failure(ErrorCode::overloaded, 503)) == Outcome::Kind::failed);
  CHECK(kind(failure(ErrorCode::invalid_request, 400)) == Outcome::Kind::failed);
  CHECK(kind(failure(ErrorCode::timeout)) == Outcome::Kind::unknown);
  ProviderOutcome not_sent = failure(ErrorCode::connection);
  not_sent.reached = Reached::nothing;
  CHECK(kind(not_sent) == Outcome::Kind::not_sent);
  const Outcome used = limiter_outcome(answer("hi"), {.input = 3, .output = 4});
  CHECK(used.input_tokens == 3);
  CHECK(used.output_tokens == 4);
}

TEST_CASE("an answer that a gateway did not wait for may have been billed") {
  for (const int status : {408, 499, 504, 524}) {
    CAPTURE(status);
    const ProviderOutcome outcome = failure(ErrorCode::server_error, status);
    CHECK(spending_of_failure(outcome) == Spending::unknown);
    CHECK(limiter_outcome(outcome, {}).kind == Outcome::Kind::unknown);
  }
}
