#include <moderato/llm/limiter/backends/calendar_day.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <stdexcept>
#include <vector>

#include <moderato/llm/limiter/limiter_backend.hpp>
#include <moderato/llm/limiter/retry_budget.hpp>
#include <moderato/llm/limiter/time_zone.hpp>

// A fixed window, because that is what the provider has: a count that is set to zero at midnight.
// The wall clock says which day it is. If it is set back over a midnight the day that was goes on
// until the clock has reached the next one: a count never begins anew for the same day.

namespace moderato {
namespace {

struct Limit {
  const char* name;
  std::int64_t most;
  std::int64_t (*of)(const Ask& ask);
  std::int64_t used = 0;
};

class CalendarDay final : public LimiterBackend {
 public:
  CalendarDay(const Clock& clock, const CalendarDayOptions& options, TimeZone zone)
      : clock_(clock), zone_(zone), zone_name_(options.zone) {
    const auto add = [&](const char* name, std::int64_t most, std::int64_t (*of)(const Ask&)) {
      if (most < 0) throw std::invalid_argument(fmt::format("calendar_day: {} is negative", name));
      if (most > 0) limits_.push_back({name, most, of});
    };
    add("requests", options.requests, [](const Ask& ask) { return ask.requests; });
    add("tokens", options.tokens, [](const Ask& ask) { return ask.tokens(); });
    add("input_tokens", options.input_tokens, [](const Ask& ask) { return ask.input_tokens; });
    add("output_tokens", options.output_tokens, [](const Ask& ask) { return ask.output_tokens; });
    add("money", std::llround(options.money * 1e6), [](const Ask& ask) { return ask.micros; });
    if (limits_.empty()) throw std::invalid_argument("calendar_day: no limit is given");
  }

  Admission try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                        const NextInLine*) override {
    const std::scoped_lock lock(mutex_);
    turn_the_page();
    for (const Limit& limit : limits_) {
      if (limit.of(ask) > limit.most) {
        return Refused{{.code = ErrorCode::too_large,
                        .message = fmt::format("the call needs {} {}, a day has {}", limit.of(ask),
                                               limit.name, limit.most)}};
      }
    }
    for (const Limit& limit : limits_) {
      if (limit.used + limit.of(ask) > limit.most) {
        return MustWait{.until = now + until_midnight(), .reason = limit.name};
      }
    }
    for (Limit& limit : limits_) limit.used += limit.of(ask);
    ++in_flight_;
    if (!ticket.retry) retries_.count_first_attempt();
    return Granted{.id = ++granted_, .epoch = static_cast<std::uint64_t>(day_.number), .at = now};
  }
  void withdraw(Instant, std::uint64_t) override {}

  std::optional<KeyChange> settle(Instant, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome) override {
    const std::scoped_lock lock(mutex_);
    in_flight_ = std::max<std::int64_t>(0, in_flight_ - 1);
    turn_the_page();
    if (grant.epoch != static_cast<std::uint64_t>(day_.number)) return std::nullopt;  // yesterday's
    const Ask spent = spent_of(ask, outcome);
    for (Limit& limit : limits_) limit.used += limit.of(spent) - limit.of(ask);
    return std::nullopt;
  }
  bool take_retry(Instant now) override {
    const std::scoped_lock lock(mutex_);
    return retries_.take(now);
  }

  [[nodiscard]] WaitEstimate expected_wait(Instant, const Ask& ask,
                                           const QueuedAhead& ahead) const override {
    const std::scoped_lock lock(mutex_);
    for (const Limit& limit : limits_) {
      const std::int64_t left = is_over() ? limit.most : limit.most - limit.used;
      if (limit.of(ask) + limit.of(ahead.cost) > left) {
        return {.at_least = until_midnight(), .expected = until_midnight(), .reason = limit.name};
      }
    }
    return {};
  }
  [[nodiscard]] KeySnapshot snapshot(Instant) const override {
    const std::scoped_lock lock(mutex_);
    KeySnapshot snapshot{.state = "open", .in_flight = in_flight_, .granted = granted_};
    for (const Limit& limit : limits_) {
      snapshot.dimensions.push_back({.name = limit.name,
                                     .limit = limit.most,
                                     .period = std::chrono::hours(24),
                                     .level = is_over() ? limit.most : limit.most - limit.used});
    }
    return snapshot;
  }
  [[nodiscard]] std::string describe() const override {
    std::string words;
    for (const Limit& limit : limits_) words += fmt::format(", {} {}", limit.most, limit.name);
    return fmt::format("calendar day in {}{}", zone_name_, words);
  }

 private:
  /// What an attempt took in the end.
  static Ask spent_of(const Ask& ask, const Outcome& outcome) {
    Ask spent = ask;
    switch (outcome.kind) {
      case Outcome::Kind::not_sent:
        return {.requests = 0};
      case Outcome::Kind::rejected:  // the request may have been counted, work was not done
        return {.requests = ask.requests};
      case Outcome::Kind::succeeded:
      case Outcome::Kind::failed:
        if (outcome.input_tokens + outcome.output_tokens > 0) {
          spent.input_tokens = outcome.input_tokens;
          spent.output_tokens = outcome.output_tokens;
        }
        if (outcome.micros > 0) spent.micros = outcome.micros;
        return spent;
      case Outcome::Kind::unknown:
        break;
    }
    return spent;
  }

  [[nodiscard]] bool is_over() const { return clock_.wall_now() >= day_.end; }
  void turn_the_page() {
    if (!is_over()) return;
    day_ = zone_.day_of(clock_.wall_now());
    for (Limit& limit : limits_) limit.used = 0;
  }
  [[nodiscard]] Duration until_midnight() const {
    const WallTime wall = clock_.wall_now();
    return wall < day_.end ? std::chrono::duration_cast<Duration>(day_.end - wall) : Duration{};
  }

  const Clock& clock_;
  const TimeZone zone_;
  const std::string zone_name_;
  mutable std::mutex mutex_;
  std::vector<Limit> limits_;
  TimeZone::Day day_{};
  std::int64_t in_flight_ = 0;
  std::uint64_t granted_ = 0;
  RetryBudget retries_;
};

}  // namespace

Limiter calendar_day(const Clock& clock, CalendarDayOptions options) {
  auto zone = TimeZone::of(options.zone);
  if (!zone) throw std::invalid_argument("calendar_day: " + zone.error().message);
  return limiter_over(std::make_shared<CalendarDay>(clock, options, *zone), options.queue,
                      options.name.empty() ? "calendar_day" : options.name);
}

}  // namespace moderato
