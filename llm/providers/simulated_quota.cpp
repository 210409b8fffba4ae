#include <moderato/llm/providers/simulated_quota.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <moderato/core/name_table.hpp>

// The law of the bucket, as the messages of real providers show it: a limit of L a minute is a
// bucket of capacity C that empties at L/60 a second, and what a refusal states obeys
//
//   wait = (used + requested − L) · 60 / L        reset = (L − remaining) · 60 / L
//
// with C = L. For example L = 200000, used = 193762, requested = 7653: wait = 0.4245 s.
//
// A bucket of 10 s (C = L/6) states its numbers in the same terms: used = L − room. To a client
// that knows the law it is a minute's bucket that is never quite empty, and the law stays true. For
// the windows only the stated wait is true; no law of refill could be.
//
// A request above the capacity but not above the limit passes when nothing is used, and leaves
// debt. Stated numbers are whole: used is rounded up, so a client that waits as it is told fits.

namespace moderato {
namespace {

constexpr NameTable<QuotaEvaluator, 4> names{
    {"minute-bucket", "10s", "1s-window", "minute-counter"}};
constexpr double minute = 60e9;  // nanoseconds

Duration window_of(QuotaEvaluator evaluator) {
  if (evaluator == QuotaEvaluator::one_second_window) return std::chrono::seconds(1);
  if (evaluator == QuotaEvaluator::minute_counter) return std::chrono::minutes(1);
  return Duration::zero();
}

double capacity_of(std::int64_t limit, QuotaEvaluator evaluator) {
  const auto whole = static_cast<double>(limit);
  if (evaluator == QuotaEvaluator::ten_second_bucket) return std::max(1.0, whole / 6);
  if (evaluator == QuotaEvaluator::one_second_window) return std::max(1.0, std::ceil(whole / 60));
  return whole;
}

}  // namespace

std::string_view to_string(QuotaEvaluator evaluator) noexcept {
  return names.name_of(evaluator);
}
std::optional<QuotaEvaluator> quota_evaluator_from_string(std::string_view name) noexcept {
  return names.value_of(name);
}

QuotaMeter::QuotaMeter(std::int64_t limit, QuotaEvaluator evaluator)
    : limit_(limit),
      evaluator_(evaluator),
      capacity_(capacity_of(limit, evaluator)),
      window_(window_of(evaluator)) {}

void QuotaMeter::change_limit(Instant now, std::int64_t limit) {
  advance(now);
  limit_ = limit;
  capacity_ = capacity_of(limit, evaluator_);
}

Duration QuotaMeter::refill_time(std::int64_t amount) const noexcept {
  const double time = static_cast<double>(amount) * minute / static_cast<double>(limit_);
  return Duration(static_cast<Duration::rep>(std::ceil(std::max(time, 0.0))));
}

void QuotaMeter::advance(Instant now) {
  if (now <= at_) return;  // threads that read the clock first may come second
  if (windowed()) {
    if (now.time_since_epoch() / window_ != at_.time_since_epoch() / window_) used_ = 0.0;
  } else {
    const double gone = static_cast<double>((now - at_).count()) / minute;  // in minutes
    used_ = std::max(0.0, used_ - gone * static_cast<double>(limit_));
  }
  at_ = now;
}

Duration QuotaMeter::left_of_window() const noexcept {
  return window_ - at_.time_since_epoch() % window_;
}

bool QuotaMeter::fits(Instant now, std::int64_t amount) {
  if (amount > limit_) return false;
  advance(now);
  const auto needed = static_cast<double>(amount);
  return used_ + needed - std::max(capacity_, needed) <= 1e-6;
}

Duration QuotaMeter::wait(Instant now, std::int64_t amount) {
  const std::int64_t missing = amount - remaining(now);
  return windowed() ? left_of_window() : refill_time(missing);
}

void QuotaMeter::charge(Instant now, std::int64_t amount) {
  advance(now);
  used_ += static_cast<double>(amount);
}

std::int64_t QuotaMeter::remaining(Instant now) {
  advance(now);
  return static_cast<std::int64_t>(std::floor(capacity_ - used_ + 1e-6));
}

Duration QuotaMeter::reset(Instant now) {
  const std::int64_t used = limit_ - remaining(now);
  return windowed() ? left_of_window() : refill_time(used);
}

SimulatedQuota::SimulatedQuota(const SimulatedQuotaOptions& options) : options_(options) {
  const auto make = [&](std::optional<QuotaMeter>& meter, std::int64_t limit) {
    if (limit > 0) meter.emplace(limit, options.evaluator);
  };
  make(requests_, options.requests_per_minute);
  make(tokens_, options.tokens_per_minute);
  make(input_, options.input_tokens_per_minute);
  make(output_, options.output_tokens_per_minute);
  if (options.acceleration > 0) {
    acceleration_.emplace(options.acceleration, options.acceleration_floor);
  }
}

void AccelerationMeter::advance(Instant now) {
  const std::int64_t window = now.time_since_epoch() / std::chrono::seconds(10);
  if (window <= window_) return;
  before_ = window == window_ + 1 ? now_ : 0;
  now_ = 0;
  window_ = window;
}

bool AccelerationMeter::fits(Instant now) {
  advance(now);
  const double grown = factor_ * static_cast<double>(before_);
  return static_cast<double>(now_ + 1) <= std::max(grown, static_cast<double>(floor_));
}

void AccelerationMeter::charge(Instant now) {
  advance(now);
  ++now_;
}

/// What others take, and what changes, since the last time.
void SimulatedQuota::pass_time(Instant now) {
  if (!began_) began_ = passed_ = now;
  if (now <= passed_) return;
  const double gone = static_cast<double>((now - passed_).count()) / minute;
  passed_ = now;
  const auto take = [&](double& due, std::int64_t rate, std::optional<QuotaMeter>& meter) {
    if (!meter || rate == 0) return;
    due = std::min(due + gone * static_cast<double>(rate), static_cast<double>(rate));
    const auto wanted = static_cast<std::int64_t>(due);
    const std::int64_t taken = std::clamp<std::int64_t>(meter->remaining(now), 0, wanted);
    if (taken > 0) meter->charge(now, taken);
    due -= static_cast<double>(wanted);  // what did not fit was refused, like anybody's
  };
  take(foreign_requests_, options_.foreign_requests_per_minute, requests_);
  take(foreign_tokens_, options_.foreign_tokens_per_minute, tokens_);
  while (changes_made_ < options_.changes.size() &&
         now - *began_ >= options_.changes[changes_made_].after) {
    const SimulatedLimitChange& change = options_.changes[changes_made_++];
    if (requests_ && change.requests_per_minute > 0) {
      requests_->change_limit(now, change.requests_per_minute);
    }
    if (tokens_ && change.tokens_per_minute > 0) {
      tokens_->change_limit(now, change.tokens_per_minute);
    }
  }
}

std::optional<QuotaRefusal> SimulatedQuota::admit(Instant now, std::int64_t input,
                                                  std::int64_t output) {
  pass_time(now);
  const std::int64_t tokens = std::max(input, output);
  std::optional<QuotaRefusal> refusal;
  const auto check = [&](std::optional<QuotaMeter>& meter, const char* name, std::int64_t amount) {
    if (!meter || refusal || meter->fits(now, amount)) return;
    refusal = QuotaRefusal{.dimension = name,
                           .limit = meter->limit(),
                           .used = meter->limit() - meter->remaining(now),
                           .requested = amount,
                           .wait = meter->wait(now, amount),
                           .too_large = amount > meter->limit()};
  };
  if (options_.max_in_flight > 0 && in_flight_ >= options_.max_in_flight) {
    refusal = QuotaRefusal{.dimension = "concurrency",
                           .limit = options_.max_in_flight,
                           .used = in_flight_,
                           .requested = 1,
                           .wait = std::chrono::milliseconds(100)};
  }
  if (acceleration_ && !refusal && !acceleration_->fits(now)) {
    refusal = QuotaRefusal{.dimension = "acceleration"};
  }
  check(requests_, "requests", 1);
  check(tokens_, "tokens", tokens);
  check(input_, "input_tokens", input);
  check(output_, "output_tokens", output);
  if (refusal) {
    if (options_.rejects_charged && requests_) requests_->charge(now, 1);
    return refusal;
  }
  if (acceleration_) acceleration_->charge(now);
  if (requests_) requests_->charge(now, 1);
  if (tokens_) tokens_->charge(now, tokens);
  if (input_) input_->charge(now, input);
  if (output_) output_->charge(now, output);
  ++in_flight_;
  return std::nullopt;
}

SimulatedQuota::Headers SimulatedQuota::headers(Instant now) {
  if (options_.headers_late_by <= Duration::zero()) return true_headers(now);
  told_later_.emplace_back(now, true_headers(now));
  const Instant as_of = now - options_.headers_late_by;
  while (told_later_.size() > 1 && told_later_[1].first <= as_of) told_later_.pop_front();
  return told_later_.front().second;
}

SimulatedQuota::Headers SimulatedQuota::true_headers(Instant now) {
  pass_time(now);
  Headers headers;
  const auto add = [&](std::optional<QuotaMeter>& meter, std::string_view name,
                       std::int64_t round_to = 1) {
    if (!meter) return;
    std::int64_t left = std::max<std::int64_t>(meter->remaining(now), 0);
    if (round_to > 1) left = (left + round_to / 2) / round_to * round_to;
    headers.emplace_back(fmt::format("x-ratelimit-limit-{}", name), std::to_string(meter->limit()));
    headers.emplace_back(fmt::format("x-ratelimit-remaining-{}", name), std::to_string(left));
    headers.emplace_back(fmt::format("x-ratelimit-reset-{}", name),
                         quota_duration_text(meter->reset(now)));
  };
  add(requests_, "requests");
  add(tokens_, "tokens", options_.round_remaining_tokens);
  add(input_, "input-tokens", options_.round_remaining_tokens);
  add(output_, "output-tokens", options_.round_remaining_tokens);
  return headers;
}

std::string quota_duration_text(Duration duration) {
  const auto millis = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  if (millis < 1000) return fmt::format("{}ms", millis);
  const std::string minutes = millis < 60'000 ? "" : fmt::format("{}m", millis / 60'000);
  return fmt::format("{}{:g}s", minutes, static_cast<double>(millis % 60'000) / 1000.0);
}

}  // namespace moderato
