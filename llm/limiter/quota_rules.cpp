#include <moderato/llm/limiter/quota_rules.hpp>

#include <fmt/format.h>

#include <cmath>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace moderato {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

void require(bool ok, std::string_view what) {
  if (!ok) throw std::invalid_argument(std::string(what));
}

std::int64_t micros(double money) {
  return std::llround(money * 1e6);
}

/// A limit on short windows leaves no burst beyond one window, wherever that begins.
Duration burst_of(QuotaUnit unit, std::int64_t limit, Duration per, const Bursts& bursts) {
  const Duration burst = bursts.of(unit);
  return per >= minutes(1) ? burst : std::min(burst, per - per / limit);
}

/// All limits of the options, in one form.
std::vector<std::pair<std::string_view, QuotaLimit>> limits_of(const QuotaOptions& options) {
  const auto day = hours(24);
  std::vector<std::pair<std::string_view, QuotaLimit>> all{
      {"requests_per_minute", {QuotaUnit::requests, options.requests_per_minute}},
      {"tokens_per_minute", {QuotaUnit::tokens, options.tokens_per_minute}},
      {"input_tokens_per_minute", {QuotaUnit::input_tokens, options.input_tokens_per_minute}},
      {"output_tokens_per_minute", {QuotaUnit::output_tokens, options.output_tokens_per_minute}},
      {"requests_per_day", {QuotaUnit::requests, options.requests_per_day, day}},
      {"tokens_per_day", {QuotaUnit::tokens, options.tokens_per_day, day}},
      {"money_per_minute", {QuotaUnit::micros, micros(options.money_per_minute)}},
      {"money_per_day", {QuotaUnit::micros, micros(options.money_per_day), day}}};
  for (const QuotaLimit& limit : options.limits) {
    require(limit.count > 0, fmt::format("quota: a limit of {} {} makes no sense; leave it out, or "
                                         "give a positive count",
                                         limit.count, to_string(limit.unit)));
    require(limit.per > Duration::zero(), "quota: a limit's `per` must be positive");
    all.emplace_back("limits", limit);
  }
  return all;
}

void check(const QuotaOptions& options) {
  require(options.max_in_flight >= 0,
          fmt::format("quota: max_in_flight is {}; give a positive limit, or 0 for no limit",
                      options.max_in_flight));
  require(
      options.safety > 0 && options.safety <= 1,
      fmt::format("quota: safety is {}; it is the share of the limits that is used, above 0 and "
                  "at most 1",
                  options.safety));
  require(options.request_burst.value_or(Duration{}) >= Duration::zero() &&
              options.token_burst.value_or(Duration{}) >= Duration::zero(),
          "quota: a burst is negative; 0 spaces calls evenly");
  require(options.max_hold >= Duration::zero(), "quota: max_hold is negative");
}

}  // namespace

void check(const QueueOptions& options) {
  require(options.max_queue_time >= Duration::zero(), "queue: max_queue_time is negative");
  for (const auto& [tenant, weight] : options.tenant_weights) {
    require(weight > 0 && std::isfinite(weight),
            fmt::format("queue: the weight of tenant \"{}\" is {}; it is a share, above 0", tenant,
                        weight));
  }
}

QuotaRules rules_of(const QuotaOptions& options) {
  check(options);
  check(options.queue);
  const QuotaProfile& profile = options.profile;
  QuotaRules rules{.slots = options.max_in_flight > 0 ? options.max_in_flight : profile.in_flight,
                   .safety = options.safety,
                   .bursts = {options.request_burst.value_or(profile.request_burst),
                              options.token_burst.value_or(profile.token_burst)},
                   .max_hold = options.max_hold,
                   .profile = profile};
  for (const auto& [name, limit] : limits_of(options)) {
    require(limit.count >= 0,
            fmt::format("quota: {} is {}; give a positive limit, or 0 for no limit", name,
                        limit.count));
    if (limit.count == 0) continue;
    require(rules.dimensions.size() < max_quota_dimensions,
            fmt::format("quota: more than {} limits", max_quota_dimensions));
    rules.dimensions.push_back({.name = to_string(limit.unit),
                                .unit = limit.unit,
                                .limit = limit.count,
                                .period = limit.per,
                                .burst = burst_of(limit.unit, limit.count, limit.per, rules.bursts),
                                .safety = options.safety});
  }
  require(!rules.dimensions.empty() || rules.slots > 0,
          "quota: no limit is given; set requests_per_minute, tokens_per_minute or max_in_flight, "
          "or say unlimited()");
  return rules;
}

QuotaRules rules_of(const AdaptiveOptions& options) {
  check(options.queue);
  require(options.initial_in_flight >= 1, "adaptive: initial_in_flight must be at least 1");
  require(options.max_in_flight >= options.initial_in_flight,
          fmt::format("adaptive: max_in_flight ({}) is below initial_in_flight ({})",
                      options.max_in_flight, options.initial_in_flight));
  require(options.max_hold >= Duration::zero(), "adaptive: max_hold is negative");
  return {.slots = options.initial_in_flight,
          .max_slots = options.max_in_flight,
          .bursts = {options.profile.request_burst, options.profile.token_burst},
          .max_hold = options.max_hold,
          .profile = options.profile};
}

}  // namespace moderato
