#include <moderato/llm/limiter/limiter.hpp>

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include <moderato/llm/limiter/backends/in_process.hpp>
#include <moderato/llm/limiter/backends/unlimited.hpp>
#include <moderato/llm/limiter/limiter_state.hpp>

namespace moderato {

Permit& Permit::operator=(Permit&& other) noexcept {
  if (this == &other) return *this;
  settle({.kind = Outcome::Kind::not_sent});
  state_ = std::move(other.state_);
  ask_ = other.ask_;
  grant_ = other.grant_;
  waited_ = other.waited_;
  clock_ = other.clock_;
  observer_ = std::move(other.observer_);
  return *this;
}

Permit::~Permit() {
  if (state_ != nullptr) settle({.kind = Outcome::Kind::not_sent});
}

void Permit::settle(const Outcome& outcome) {
  if (state_ == nullptr) return;
  const auto state = std::move(state_);
  state->settle(*this, outcome);
}

Limiter::Limiter() : Limiter(adaptive()) {}

Result<Permit> Limiter::acquire(const Ask& ask, const CallContext& context, const Clock& clock,
                                const std::function<void(const QueuedNotice&)>& queued) {
  return state_->acquire(state_, ask, context, clock, queued);
}

bool Limiter::take_retry(Instant now) {
  return state_->take_retry(now);
}

void Limiter::count_first_attempt(Instant) {
  state_->count_first_attempt();
}

Limiter::Snapshot Limiter::snapshot(Instant now) const {
  return state_->snapshot(now);
}

std::string Limiter::describe() const {
  return state_->describe();
}

namespace {

void require(bool ok, std::string_view what) {
  if (!ok) throw std::invalid_argument(std::string(what));
}

std::string or_else(std::string name, const char* otherwise) {
  return name.empty() ? otherwise : std::move(name);
}

void check(const QuotaOptions& options) {
  const auto not_negative = [](std::string_view name, std::int64_t value) {
    require(value >= 0,
            fmt::format("quota: {} is {}; give a positive limit, or 0 for no limit", name, value));
  };
  not_negative("requests_per_minute", options.requests_per_minute);
  not_negative("tokens_per_minute", options.tokens_per_minute);
  not_negative("max_in_flight", options.max_in_flight);
  require(
      options.requests_per_minute > 0 || options.tokens_per_minute > 0 || options.max_in_flight > 0,
      "quota: no limit is given; set requests_per_minute, tokens_per_minute or max_in_flight, "
      "or say unlimited()");
  require(
      options.safety > 0 && options.safety <= 1,
      fmt::format("quota: safety is {}; it is the share of the limits that is used, above 0 and "
                  "at most 1",
                  options.safety));
  require(options.request_burst >= Duration::zero() && options.token_burst >= Duration::zero(),
          "quota: a burst is negative; 0 spaces calls evenly");
  require(options.max_hold >= Duration::zero(), "quota: max_hold is negative");
}

}  // namespace

Limiter quota(QuotaOptions options) {
  check(options);
  QuotaRules rules{.slots = options.max_in_flight,
                   .safety = options.safety,
                   .bursts = {options.request_burst, options.token_burst},
                   .max_hold = options.max_hold};
  const auto add = [&](const char* name, QuotaUnit unit, std::int64_t limit) {
    if (limit == 0) return;
    rules.dimensions.push_back({.name = name,
                                .unit = unit,
                                .limit = limit,
                                .burst = rules.bursts.of(unit),
                                .safety = options.safety});
  };
  add("requests", QuotaUnit::requests, options.requests_per_minute);
  add("tokens", QuotaUnit::tokens, options.tokens_per_minute);
  return limiter_over(std::make_shared<InProcessBackend>(std::move(rules)), options.max_queue,
                      or_else(std::move(options.name), "quota"),
                      static_cast<double>(options.requests_per_minute) / 60.0);
}

Limiter adaptive(AdaptiveOptions options) {
  require(options.initial_in_flight >= 1, "adaptive: initial_in_flight must be at least 1");
  require(options.max_in_flight >= options.initial_in_flight,
          fmt::format("adaptive: max_in_flight ({}) is below initial_in_flight ({})",
                      options.max_in_flight, options.initial_in_flight));
  require(options.max_hold >= Duration::zero(), "adaptive: max_hold is negative");
  QuotaRules rules{.slots = options.initial_in_flight,
                   .max_slots = options.max_in_flight,
                   .max_hold = options.max_hold};
  return limiter_over(std::make_shared<InProcessBackend>(std::move(rules)), options.max_queue,
                      or_else(std::move(options.name), "adaptive"), 0);
}

Limiter unlimited() {
  return limiter_over(std::make_shared<UnlimitedBackend>(), 0, "unlimited", 0);
}

Limiter limiter_over(std::shared_ptr<LimiterBackend> backend, std::size_t max_queue,
                     std::string name, double requests_per_second_for_retries) {
  require(backend != nullptr, "limiter_over: no backend");
  return Limiter(std::make_shared<LimiterState>(
      LimiterState::Options{.backend = std::move(backend),
                            .max_queue = max_queue,
                            .name = std::move(name),
                            .requests_per_second = requests_per_second_for_retries}));
}

}  // namespace moderato
