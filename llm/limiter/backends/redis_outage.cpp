#include <fmt/format.h>

#include <algorithm>
#include <moderato/llm/limiter/backends/redis_backend.hpp>
#include <utility>
#include <variant>

// When Redis is away
//
// To stop is safe and costs the service. To go on without a limit meets the provider's, with every
// process at once. So each goes on with its share: nine tenths of the quota, divided by the number
// of processes that were there last, from an empty bucket. That is right as long as no process
// comes or goes, and after five minutes nobody knows, so it ends there. What was spent meanwhile is
// charged when Redis is back, as a debt that later calls pay.

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

}  // namespace

Admission RedisBackend::without(Instant now, const Ask& ask, const Ticket& ticket) {
  const RedisOutage policy = options_.redis.outage;
  if (policy == RedisOutage::fail_open) {
    return Granted{.id = ++local_ids_ | local_grant, .at = now};
  }
  if (policy == RedisOutage::fail_closed) return Refused{unreachable(down_because_)};
  if (!local_) {
    local_.emplace(share_of(options_.rules, others_));
    local_->drain(now);
    local_since_ = now;
  }
  if (now - local_since_ > longest_outage) return Refused{unreachable(down_because_)};
  Admission admission = local_->try_acquire(now, ask, {}, ticket.retry);
  if (auto* granted = std::get_if<Granted>(&admission)) {
    granted->id |= local_grant;
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

void RedisBackend::charge_debt() {
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
