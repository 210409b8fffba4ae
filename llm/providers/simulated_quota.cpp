#include <moderato/llm/providers/simulated_quota.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <moderato/core/name_table.hpp>

// The law of the bucket, as the messages of real providers show it: a limit of L a minute is a
// bucket of capacity C (L, or 10 s of it) that empties at L/60 a second, and
//
//   wait = (used + requested − C) · 60 / L        reset = used · 60 / L
//
// A request above the capacity but not above the limit passes when the bucket is empty, and leaves
// debt.

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

Duration nanoseconds(double count) {
  return Duration(static_cast<Duration::rep>(std::ceil(std::max(count, 0.0))));
}

}  // namespace

std::string_view to_string(QuotaEvaluator evaluator) noexcept {
  return names.name_of(evaluator);
}
std::optional<QuotaEvaluator> quota_evaluator_from_string(std::string_view name) noexcept {
  return names.value_of(name);
}

QuotaMeter::QuotaMeter(std::int64_t limit, QuotaEvaluator evaluator)
    : limit_(limit), capacity_(capacity_of(limit, evaluator)), window_(window_of(evaluator)) {}

double QuotaMeter::per_nanosecond() const noexcept {
  return static_cast<double>(limit_) / minute;
}

void QuotaMeter::advance(Instant now) {
  if (windowed()) {
    const auto index = [&](Instant at) { return at.time_since_epoch() / window_; };
    if (index(now) != index(at_)) used_ = 0.0;
  } else {
    used_ = std::max(0.0, used_ - static_cast<double>((now - at_).count()) * per_nanosecond());
  }
  at_ = std::max(at_, now);
}

std::optional<Duration> QuotaMeter::wait_for(Instant now, std::int64_t amount) {
  if (amount > limit_) return std::nullopt;
  advance(now);
  const double room = std::max(capacity_, static_cast<double>(amount));
  const double excess = used_ + static_cast<double>(amount) - room;
  if (excess <= 1e-6) return Duration::zero();
  if (windowed()) return window_ - now.time_since_epoch() % window_;
  return nanoseconds(excess / per_nanosecond());
}

void QuotaMeter::charge(Instant now, std::int64_t amount) {
  advance(now);
  used_ += static_cast<double>(amount);
}

std::int64_t QuotaMeter::used(Instant now) {
  advance(now);
  return static_cast<std::int64_t>(std::ceil(used_));
}

std::int64_t QuotaMeter::remaining(Instant now) {
  return std::max<std::int64_t>(static_cast<std::int64_t>(capacity_) - used(now), 0);
}

Duration QuotaMeter::reset(Instant now) {
  advance(now);
  if (windowed()) return window_ - now.time_since_epoch() % window_;
  return nanoseconds(used_ / per_nanosecond());
}

SimulatedQuota::SimulatedQuota(const SimulatedQuotaOptions& options) : options_(options) {
  if (options.requests_per_minute > 0) {
    requests_.emplace(options.requests_per_minute, options.evaluator);
  }
  if (options.tokens_per_minute > 0) tokens_.emplace(options.tokens_per_minute, options.evaluator);
}

std::optional<QuotaRefusal> SimulatedQuota::admit(Instant now, std::int64_t tokens) {
  std::optional<QuotaRefusal> refusal;
  const auto check = [&](std::optional<QuotaMeter>& meter, const char* name, std::int64_t amount) {
    if (!meter || refusal) return;
    const auto wait = meter->wait_for(now, amount);
    if (wait && *wait == Duration::zero()) return;
    refusal = QuotaRefusal{.dimension = name,
                           .limit = meter->limit(),
                           .used = meter->used(now),
                           .requested = amount,
                           .wait = wait.value_or(Duration::zero()),
                           .too_large = !wait};
  };
  if (options_.max_in_flight > 0 && in_flight_ >= options_.max_in_flight) {
    refusal = QuotaRefusal{.dimension = "concurrency",
                           .limit = options_.max_in_flight,
                           .used = in_flight_,
                           .requested = 1,
                           .wait = std::chrono::milliseconds(100)};
  }
  check(requests_, "requests", 1);
  check(tokens_, "tokens", tokens);
  if (refusal) {
    if (options_.rejects_charged && requests_) requests_->charge(now, 1);
    return refusal;
  }
  if (requests_) requests_->charge(now, 1);
  if (tokens_) tokens_->charge(now, tokens);
  ++in_flight_;
  return std::nullopt;
}

std::vector<std::pair<std::string, std::string>> SimulatedQuota::headers(Instant now) {
  std::vector<std::pair<std::string, std::string>> headers;
  const auto add = [&](std::optional<QuotaMeter>& meter, std::string_view name) {
    if (!meter) return;
    headers.emplace_back(fmt::format("x-ratelimit-limit-{}", name), std::to_string(meter->limit()));
    headers.emplace_back(fmt::format("x-ratelimit-remaining-{}", name),
                         std::to_string(meter->remaining(now)));
    headers.emplace_back(fmt::format("x-ratelimit-reset-{}", name),
                         quota_duration_text(meter->reset(now)));
  };
  add(requests_, "requests");
  add(tokens_, "tokens");
  return headers;
}

std::string quota_duration_text(Duration duration) {
  const auto millis = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  if (millis < 1000) return fmt::format("{}ms", millis);
  if (millis >= 60'000)
    return fmt::format("{}m{:g}s", millis / 60'000, static_cast<double>(millis % 60'000) / 1000.0);
  return fmt::format("{:g}s", static_cast<double>(millis) / 1000.0);
}

}  // namespace moderato
