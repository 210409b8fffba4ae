#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <moderato/llm/limiter/backends/redis_backend.hpp>
#include <utility>
#include <variant>

// When Redis is away
//
// To stop is safe and costs the service. To go on without a limit meets the provider's, with every
// process at once. So each goes on with its share: nine tenths of the quota, divided by the number
// of processes that were there last, from an empty bucket. That is right as long as no process
// comes or goes, and after five minutes nobody knows, so it ends there. What was spent meanwhile,
// and has not flowed off since at the process's share of the rate, is charged when Redis is back,
// as a debt that later calls pay. (All that was spent would be wrong: after an outage of a minute
// nobody could go for a minute, although the provider's bucket is as full as ever.)

namespace moderato {
namespace {

constexpr Duration longest_outage = std::chrono::minutes(5);

Error unreachable(const std::string& why) {
  return {.code = ErrorCode::storage,
          .message = fmt::format("the quota's Redis cannot be reached ({}), and without it no call "
                                 "goes (RedisOptions::outage)",
                                 why),
          .retry_after = std::chrono::seconds(1)};
}

QuotaRules share_of(QuotaRules rules, std::size_t processes) {
  const auto count = static_cast<std::int64_t>(std::max<std::size_t>(processes, 1));
  for (auto& rule : rules.dimensions) {
    rule.limit = std::max<std::int64_t>(1, rule.limit * 9 / 10 / count);
  }
  if (rules.slots > 0) rules.slots = std::max<std::int64_t>(1, rules.slots / count);
  return rules;
}

/// Units of a limit that flow off in that time; of several limits on one unit the fastest.
std::int64_t flows_off(const QuotaRules& rules, QuotaUnit unit, Duration time) {
  double most = 0;
  for (const auto& rule : rules.dimensions) {
    if (rule.unit != unit) continue;
    most = std::max(most, static_cast<double>(rule.limit) * static_cast<double>(time.count()) /
                              static_cast<double>(rule.period.count()));
  }
  return std::llround(std::min(most, 1e15));
}

}  // namespace

/// What was spent flows off at this process's share of the rate.
void RedisBackend::pay_debt(Instant now) {
  const Duration share = std::max(now - debt_at_, Duration::zero()) / static_cast<int>(others_);
  debt_at_ = std::max(now, debt_at_);
  const auto pay = [](std::int64_t& owed, std::int64_t& by) {
    const std::int64_t paid = std::clamp<std::int64_t>(by, 0, std::max<std::int64_t>(owed, 0));
    owed -= paid;
    by -= paid;
  };
  const auto flow_off = [&](QuotaUnit unit) { return flows_off(options_.rules, unit, share); };
  std::int64_t requests = flow_off(QuotaUnit::requests);
  std::int64_t input = flow_off(QuotaUnit::input_tokens);
  std::int64_t output = flow_off(QuotaUnit::output_tokens);
  std::int64_t tokens = flow_off(QuotaUnit::tokens);
  std::int64_t micros = flow_off(QuotaUnit::micros);
  pay(debt_.requests, requests);
  pay(debt_.micros, micros);
  pay(debt_.input_tokens, input > 0 ? input : tokens);
  pay(debt_.output_tokens, output > 0 ? output : tokens);
}

Admission RedisBackend::without(Instant now, const Ask& ask, const Ticket& ticket) {
  const RedisOutage policy = options_.redis.outage;
  if (policy == RedisOutage::fail_open) {
    return Granted{.id = ++local_ids_ | local_grant, .at = now};
  }
  if (policy == RedisOutage::fail_closed) return Refused{unreachable(down_because_)};
  if (!local_) {
    local_.emplace(share_of(options_.rules, others_));
    local_->drain(now);
    local_since_ = debt_at_ = now;
  }
  if (now - local_since_ > longest_outage) return Refused{unreachable(down_because_)};
  Admission admission = local_->try_acquire(now, ask, {}, ticket.retry);
  if (auto* granted = std::get_if<Granted>(&admission)) {
    granted->id |= local_grant;
    pay_debt(now);
    debt_ += mirror_.weigh(ask);
  }
  return admission;
}

std::optional<KeyChange> RedisBackend::settle_local(Instant now, const Granted& grant,
                                                    const Ask& ask, const Outcome& outcome) {
  if (!local_) return std::nullopt;
  const Ask weighed = mirror_.weigh(ask);
  Ask back = weighed;
  debt_ -= back -= mirror_.charge_for(weighed, outcome);
  Granted there = grant;
  there.id &= ~local_grant;
  return local_->settle(now, there, ask, outcome);
}

void RedisBackend::charge_debt(Instant now) {
  pay_debt(now);
  local_.reset();
  const Ask debt = std::exchange(debt_, Ask{.requests = 0});
  charge(debt);
}

void RedisBackend::connection_changed(const std::string& run, const std::string& why) {
  const std::scoped_lock lock(mutex_);
  if (run.empty()) {
    down_because_ = why;
    return;
  }
  run_ = run;
  if (joined_) renew();
}

}  // namespace moderato
