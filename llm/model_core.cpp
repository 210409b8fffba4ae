#include <moderato/llm/model_core.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include <moderato/llm/model_call.hpp>
#include <moderato/llm/retry.hpp>
#include <moderato/llm/tokens/fingerprint.hpp>

// The one door
//
// Everything that is ever sent to a provider is sent by attempts() below, whoever wants it and for
// whatever purpose, and its six steps always come in the same order:
//
//   budget    takes prompt bound + output cap out of the token budget, or the call is not made;
//   permit    waits until the quota has room for the same numbers, or refuses;
//   send      one attempt, with that output cap;
//   settle    gives back to the quota and to the budget what was not used, and writes the record;
//   classify  decides what the failure means;
//   retry     sleeps, and begins again with the budget: each attempt pays for itself.
//
// The budget comes before the permit because a call that has no money must not stand in the queue,
// and both come before each attempt because a retry is a call like any other. What is reserved is
// held in values (Reservation, Permit) whose destructors give it back, so no way out of the
// function keeps it.
//
// The limiter is asked for the expected prompt, the budget for its upper bound: a quota that waits
// for tokens which are never used is slow, a budget that is overrun is broken.

namespace moderato {
namespace {

/// What the provider said about its quota, as the ledger keeps it.
void add_quota(const QuotaSignal& said, CallRecord& record) {
  record.retry_after = said.retry_after;
  for (const QuotaHeader& header : said.headers) {
    if (header.dimension == "requests") {
      record.limit_requests = header.limit;
      record.remaining_requests = header.remaining;
    } else if (header.dimension == "tokens") {
      record.limit_tokens = header.limit;
      record.remaining_tokens = header.remaining;
    }
  }
}

/// A provider that throws may have sent the request. (Not inlined, like all that is rare here: a
/// waiting call's fiber keeps its frames.)
[[gnu::noinline]] ProviderOutcome failed_send(const char* thrown) {
  ProviderOutcome outcome{.reached = Reached::sent};
  outcome.reply = fail(ErrorCode::internal, fmt::format("the provider threw: {}", thrown));
  return outcome;
}

}  // namespace

struct Model::Core::Attempt {
  int number = 1;
  TokenBudget::Reservation reservation{};
  std::int64_t output_tokens = 0;
  std::optional<std::int64_t> cap_to_send{};
  Permit permit{};
  Instant sent_at{};
  WallTime sent_at_wall{};
  Duration waited{};
  const char* wait_reason = "";
};

Result<ModelReply> Model::Core::ask(Call& call) {
  if (auto error = recognise_outer_retry(call)) return refuse(call, std::move(*error));
  auto reply = attempts(call);
  if (reply) {
    failed_turns_.succeeded(call.prompt.identity);
  } else if (call.spent.attempts > 0) {
    failed_turns_.failed(call.prompt.identity, runtime_.clock().now(),
                         static_cast<int>(call.spent.attempts));
  }
  return reply;
}

Result<ModelReply> Model::Core::attempts(Call& call) {
  for (int number = 1;; ++number) {
    Attempt attempt{.number = number};
    // Budget.
    if (auto error = reserve(call, attempt)) return refuse(call, std::move(*error));
    // Permit.
    if (auto error = admit(call, attempt)) return refuse(call, std::move(*error));
    // Send.
    ProviderOutcome outcome = send(call, attempt);
    // Settle.
    settle(call, attempt, outcome);
    if (outcome.reply) return std::move(outcome.reply);
    // Classify.
    const auto delay = delay_before_retry(call, attempt, outcome);
    if (!delay) return std::move(outcome.reply);
    // Retry.
    if (sleep_for(*delay, call.context.stop) == Wake::cancelled) {
      return refuse(call, {.code = ErrorCode::cancelled, .message = "cancelled before a retry"});
    }
  }
}

// --- The steps

std::unique_ptr<Error> Model::Core::recognise_outer_retry(Call& call) {
  const Instant now = runtime_.clock().now();
  const auto failure = failed_turns_.lately(call.prompt.identity, now);
  if (!failure) return nullptr;
  call.outer_retry = true;
  const bool paid = options_.limiter.take_retry(now);
  const double ago = std::chrono::duration<double>(now - failure->at).count();
  const std::string what = fmt::format(
      "the same request failed {:.1f} s ago after {} attempts: a loop around a call that is "
      "already "
      "retried multiplies the attempts",
      ago, failure->attempts);
  notify(call, [&] { return Warning{.text = what + "; it is charged to the same retry budget"}; });
  if (paid) return nullptr;
  return std::make_unique<Error>(Error{
      .code = ErrorCode::rate_limited,
      .message = what + ", and the retry budget of this quota is used up. Leave retrying to the "
                        "model (retry.max_attempts), or wait",
      .retry_after = std::chrono::seconds(10)});
}

std::optional<Error> Model::Core::reserve(const Call& call, Attempt& attempt) const {
  const auto wanted = call.sampling.max_output_tokens;
  attempt.output_tokens = wanted.value_or(options_.default_max_output_tokens);
  if (TokenBudget* budget = call.context.budget.get()) {
    const std::int64_t input = call.prompt.upper_bound;
    auto room = call.context.final_answer ? budget->reserve_final(input, attempt.output_tokens)
                                          : budget->reserve(input, attempt.output_tokens);
    if (!room) return std::move(room).error();
    attempt.reservation = std::move(*room);
    attempt.output_tokens = attempt.reservation.output_cap();
  }
  if (wanted || call.context.budget || options_.always_send_output_cap) {
    attempt.cap_to_send = attempt.output_tokens;
  } else {
    attempt.output_tokens = reply_length_.expected(attempt.output_tokens);
  }
  return std::nullopt;
}

std::optional<Error> Model::Core::admit(const Call& call, Attempt& attempt) {
  const Ask ask{
      .input_tokens = call.prompt.expected,
      .output_tokens = attempt.output_tokens,
      .micros = micros_of({.input = call.prompt.expected, .output = attempt.output_tokens}),
      .attempt = attempt.number};
  const auto queued = [&](const QueuedNotice& notice) {
    attempt.wait_reason = notice.reason;
    notify(call, [&] {
      return CallQueued{.agent = call.context.agent,
                        .model = std::string(provider_->model()),
                        .reason = notice.reason,
                        .expected_wait = notice.expected_wait,
                        .position = notice.position};
    });
  };
  auto permit = options_.limiter.acquire(ask, call.context, runtime_.clock(), queued);
  if (!permit) return std::move(permit).error();
  attempt.permit = std::move(*permit);
  notify(call, [&] {
    return CallAdmitted{.agent = call.context.agent,
                        .model = std::string(provider_->model()),
                        .waited = attempt.permit.waited()};
  });
  return std::nullopt;
}

ProviderOutcome Model::Core::send(Call& call, Attempt& attempt) {
  attempt.sent_at = runtime_.clock().now();
  attempt.sent_at_wall = runtime_.clock().wall_now();
  notify(call, [&] {
    return CallSent{.agent = call.context.agent,
                    .model = std::string(provider_->model()),
                    .attempt = attempt.number};
  });
  ProviderRequest request{.request = call.request,
                          .max_output_tokens = attempt.cap_to_send,
                          .attempt = attempt.number,
                          .deployment = attempt.permit.choice(),
                          .completed_sampling = &call.sampling};
  if (call.request.streamed()) {
    request.on_delta = [&](std::string_view text) { give_text(call, text); };
  }
  try {
    return provider_->send(request, call.context);
  } catch (const std::exception& thrown) {
    return failed_send(thrown.what());
  } catch (...) {
    return failed_send("something that is no exception");
  }
}

void Model::Core::settle(Call& call, Attempt& attempt, ProviderOutcome& outcome) {
  if (outcome.reply) outcome.reached = Reached::answered;
  const bool was_sent = outcome.reached != Reached::nothing;
  const Usage used = usage_of(call, attempt, outcome);
  const double cost = options_.price ? options_.price->of(used) : 0.0;
  attempt.waited = attempt.permit.waited();
  const Duration latency = runtime_.clock().now() - attempt.sent_at;

  Outcome ended = limiter_outcome(outcome, used);
  ended.micros = micros_of(used);
  attempt.permit.settle(ended);
  attempt.reservation.settle(used.total());
  if (outcome.reply && used.source == UsageSource::measured) {
    estimator_.learn(call.prompt, used.input);
    if (!attempt.cap_to_send) reply_length_.learn(used.output);
  }
  charge(call, {.calls = outcome.reply ? 1 : 0,
                .attempts = was_sent ? 1 : 0,
                .usage = used,
                .cost = cost,
                .queue_wait = attempt.waited});
  if (outcome.reply) {
    outcome.reply->usage = used;
    outcome.reply->cost = cost;
    outcome.reply->attempts = static_cast<int>(call.spent.attempts);
    outcome.reply->queue_wait = call.spent.queue_wait;
    outcome.reply->latency = latency;
    outcome.reply->time_to_first_token = outcome.time_to_first_token;
  }
  if (is_recorded(call)) write_attempt(call, attempt, outcome, used, cost, latency);
}

void Model::Core::write_attempt(const Call& call, const Attempt& attempt,
                                const ProviderOutcome& outcome, const Usage& used, double cost,
                                Duration latency) {
  CallRecord record = record_of(call);
  record.attempt = outcome.reached != Reached::nothing ? attempt.number : 0;
  record.reserved_output = attempt.output_tokens;
  record.usage = used;
  record.cost = cost;
  record.queue_wait = attempt.waited;
  record.latency = latency;
  record.time_to_first_token = outcome.time_to_first_token;
  record.http_status = outcome.http_status;
  record.request_id = outcome.request_id;
  record.sent_at = attempt.sent_at_wall;
  record.wait_reason = attempt.wait_reason;
  if (outcome.reply) record.reply = reply_digest(outcome.reply->message);
  add_quota(outcome.quota, record);
  if (outcome.reply) record.finish_reason = outcome.reply->finish_reason;
  write(call, std::move(record), outcome.reply ? nullptr : &outcome.reply.error());
}

std::optional<Duration> Model::Core::delay_before_retry(Call& call, const Attempt& attempt,
                                                        ProviderOutcome& outcome) {
  Error& error = outcome.reply.error();
  if (!error.retry_after) error.retry_after = outcome.quota.retry_after;
  if (attempt.number >= options_.retry.max_attempts || !worth_retrying(outcome)) {
    return std::nullopt;
  }
  if (call.text_given && !call.request.retry_after_first_token) return std::nullopt;
  const Instant now = runtime_.clock().now();
  const Duration delay = retry_delay(options_.retry, error, attempt.number, random());
  const bool too_long = error.retry_after && *error.retry_after > options_.retry.max_hold;
  if (too_long || saturating_add(now, delay) >= call.context.deadline) {
    if (!error.retry_after) error.retry_after = delay;
    return std::nullopt;
  }
  if (!options_.limiter.take_retry(now)) {
    error.message += " (not tried again: the retry budget is used up)";
    return std::nullopt;
  }
  notify(call, [&] {
    return CallRetried{.agent = call.context.agent,
                       .model = std::string(provider_->model()),
                       .next_attempt = attempt.number + 1,
                       .delay = delay,
                       .why = to_string(error)};
  });
  call.last_error = error;
  return delay;
}

// --- What the steps are made of

/// The call ends without (another) request: that, too, leaves a record.
Result<ModelReply> Model::Core::refuse(Call& call, Error&& error) {
  if (call.last_error) {
    error.message += fmt::format("; the attempt before failed: {}", to_string(*call.last_error));
  }
  if (is_recorded(call)) write(call, record_of(call), &error);
  return fail(std::move(error));
}

/// What usage costs, in millionths; 0 without a price.
std::int64_t Model::Core::micros_of(const Usage& usage) const {
  return options_.price ? std::llround(options_.price->of(usage) * 1e6) : 0;
}

/// What is charged for an attempt.
Usage Model::Core::usage_of(const Call& call, const Attempt& attempt,
                            const ProviderOutcome& outcome) const {
  if (outcome.reply) {
    const Usage& reported = outcome.reply->usage;
    if (reported.source != UsageSource::none) return reported;
    return {.input = call.prompt.expected,
            .output = TokenEstimator::of_reply(outcome.reply->message),
            .source = UsageSource::estimated};
  }
  if (outcome.usage_so_far) return *outcome.usage_so_far;
  if (spending_of_failure(outcome) == Spending::none) return {};
  return {.input = call.context.budget ? call.prompt.upper_bound : call.prompt.expected,
          .output = attempt.output_tokens,
          .source = UsageSource::reserved};
}

void Model::Core::charge(Call& call, const CallTotals::Snapshot& spent) const {
  call.spent += spent;
  if (call.context.totals != nullptr) call.context.totals->add(spent);
  if (const TokenBudget* budget = call.context.budget.get()) {
    notify(call, [&] {
      return BudgetChanged{
          .spent = budget->spent(), .reserved = budget->reserved(), .total = budget->total()};
    });
  }
}

CallRecord Model::Core::record_of(const Call& call) const {
  return {.session = call.context.session,
          .tenant = call.context.tenant,
          .agent = call.context.agent,
          .purpose = call.context.purpose,
          .provider = std::string(provider_->name()),
          .model = std::string(provider_->model()),
          .call = call.number,
          .estimated_input = call.prompt.expected,
          .key = quota_key_,
          .request = fmt::format("{:016x}", call.prompt.identity)};
}

bool Model::Core::is_recorded(const Call& call) const {
  return call.context.observer || runtime_.ledger();
}

void Model::Core::write(const Call& call, CallRecord&& record, const Error* error) {
  if (error != nullptr) {
    record.error = error->code;
    record.provider_code = error->provider_code;
  }
  append_to_ledger(call, record);
  if (error != nullptr) {
    notify(call, [&] { return CallRejected{.record = std::move(record), .error = *error}; });
  } else {
    notify(call, [&] { return CallFinished{.record = std::move(record)}; });
  }
}

/// The reply has been paid for: a ledger that fails must not lose it.
void Model::Core::append_to_ledger(const Call& call, const CallRecord& record) {
  const auto& ledger = runtime_.ledger();
  if (!ledger) return;
  std::string failure = "something that is no std::exception";
  try {
    return ledger->append(record);
  } catch (const std::exception& thrown) {
    failure = thrown.what();
  } catch (...) {
  }
  notify(call, [&] { return Warning{.text = "the ledger threw: " + failure}; });
}

/// A listener that throws loses the rest of the text, not the reply.
void Model::Core::give_text(Call& call, std::string_view text) {
  if (text.empty()) return;
  call.text_given = true;
  notify(call, [&] { return TokenDelta{.agent = call.context.agent, .text = std::string(text)}; });
  if (!call.request.on_delta || !call.listener_failure.empty()) return;
  try {
    return call.request.on_delta(text);
  } catch (const std::exception& thrown) {
    call.listener_failure = fmt::format("on_delta threw: {}", thrown.what());
  } catch (...) {
    call.listener_failure = "on_delta threw something that is no std::exception";
  }
  notify(call, [&] { return Warning{.text = call.listener_failure}; });
}

double Model::Core::random() {
  return static_cast<double>(runtime_.random() >> 11U) * 0x1.0p-53;
}

}  // namespace moderato
