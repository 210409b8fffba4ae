#include <moderato/llm/retry.hpp>

#include <algorithm>
#include <cmath>

// Why full jitter
//
// When a provider fails, everybody's calls fail at the same moment. If all wait 1 s, 2 s, 4 s, they
// come back at the same moments too, and each time they knock the provider over again. Drawing each
// wait from [0, limit] spreads them evenly. A hint is different: before it is over the provider
// refuses for certain, so the jitter is added after it.

namespace moderato {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

bool is_good_status(int status) noexcept {
  return status >= 200 && status < 300;
}

/// Somebody between us and the model did not wait for its answer: the model may have gone on, and
/// it is billed.
bool gave_up_waiting(int status) noexcept {
  return status == 408 || status == 499 || status == 504 || status == 524;
}

Duration scaled(Duration duration, double factor) {
  return Duration(static_cast<Duration::rep>(static_cast<double>(duration.count()) * factor));
}

}  // namespace

bool worth_retrying(const ProviderOutcome& outcome) {
  const ErrorCode code = outcome.reply.error().code;
  const bool for_ever = code == ErrorCode::quota_exhausted || code == ErrorCode::too_large;
  if (for_ever || outcome.quota.should_retry == false) return false;
  switch (code) {
    case ErrorCode::rate_limited:
    case ErrorCode::overloaded:
    case ErrorCode::server_error:
    case ErrorCode::connection:
    case ErrorCode::timeout:
    case ErrorCode::protocol:
      return true;
    default:
      return outcome.quota.should_retry == true && outcome.http_status >= 400;
  }
}

Duration retry_delay(const RetryOptions& options, const Error& error, int failed_attempt,
                     double random) {
  if (const Duration hint = error.retry_after.value_or(Duration::zero()); hint > Duration::zero()) {
    const Duration jitter = std::min<Duration>(seconds(5), hint / 10 + milliseconds(250));
    return hint + scaled(jitter, random);
  }
  const double doublings = failed_attempt - 1 + (error.code == ErrorCode::overloaded ? 1 : 0);
  const double limit = std::min(
      static_cast<double>(options.max_delay.count()),
      static_cast<double>(options.base_delay.count()) * std::exp2(std::min(doublings, 60.0)));
  return Duration(static_cast<Duration::rep>(limit * random));
}

Spending spending_of_failure(const ProviderOutcome& outcome) {
  if (outcome.reached == Reached::nothing) return Spending::none;
  if (outcome.reached == Reached::sent || outcome.time_to_first_token) return Spending::unknown;
  if (gave_up_waiting(outcome.http_status)) return Spending::unknown;
  if (outcome.http_status >= 400) return Spending::none;
  switch (outcome.reply.error().code) {  // An error inside an answer that began well, or no status.
    case ErrorCode::invalid_request:
    case ErrorCode::authentication:
    case ErrorCode::not_found:
    case ErrorCode::context_overflow:
    case ErrorCode::rate_limited:
    case ErrorCode::quota_exhausted:
    case ErrorCode::overloaded:
      return Spending::none;
    case ErrorCode::server_error:
      return is_good_status(outcome.http_status) ? Spending::unknown : Spending::none;
    default:
      return Spending::unknown;
  }
}

Outcome limiter_outcome(const ProviderOutcome& outcome, const Usage& used) {
  Outcome result{.input_tokens = used.input,
                 .output_tokens = used.output,
                 .cached_input_tokens = used.cached_input,
                 .http_status = outcome.http_status,
                 .signal = outcome.quota};
  if (outcome.reply) {
    result.kind = Outcome::Kind::succeeded;
    return result;
  }
  const Error& error = outcome.reply.error();
  result.error = error.code;
  result.why = error.message;
  const bool refused_by_quota = error.code == ErrorCode::rate_limited ||
                                error.code == ErrorCode::quota_exhausted ||
                                outcome.http_status == 429;
  if (outcome.reached == Reached::nothing) {
    result.kind = Outcome::Kind::not_sent;
  } else if (spending_of_failure(outcome) == Spending::unknown) {
    result.kind = Outcome::Kind::unknown;
  } else {
    result.kind = refused_by_quota ? Outcome::Kind::rejected : Outcome::Kind::failed;
  }
  return result;
}

}  // namespace moderato
