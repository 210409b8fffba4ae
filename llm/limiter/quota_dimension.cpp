#include <moderato/llm/limiter/quota_dimension.hpp>

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <utility>

// Two buckets for one limit
//
// With one bucket of a few seconds' burst, what a provider says cannot be written down: its bucket
// holds a minute's quota. "Limit 10000, Used 8782, Requested 8172" leaves it 1,218 tokens, and a
// bucket of 3 s (500 tokens) would call that full and let the same call go again at once, to be
// refused again. A bucket as large as the provider's would hold the number, and send a minute's
// quota in one breath, which providers that look at single seconds refuse. So there are two:
// `ours_` paces, with the small burst and the safety share; `theirs_` follows the provider's and is
// what gets corrected. Without corrections it never binds: it gets the same charges and holds more.

namespace moderato {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration periods[] = {minutes(1), hours(1), hours(24)};
constexpr Duration reset_slack = seconds(1);
constexpr Duration full_minute_burst = seconds(50);
constexpr int proofs_needed = 3;
constexpr int raises_after = 3;
constexpr Duration raises_over = seconds(5);

/// The period by the law of continuous buckets, in nanoseconds; 0 if nothing can be said.
double period_by_law(const QuotaHeader& header) noexcept {
  if (!header.limit || !header.remaining || !header.reset) return 0;
  const auto used = static_cast<double>(*header.limit) - static_cast<double>(*header.remaining);
  if (used <= 0) return 0;
  return static_cast<double>(header.reset->count()) * static_cast<double>(*header.limit) / used;
}

bool near(double period, Duration candidate, double share) noexcept {
  const auto expected = static_cast<double>(candidate.count());
  return std::abs(period - expected) <= share * expected;
}

/// True for a header that a full-minute continuous bucket would send and other counters rarely do.
bool fits_full_minute(const QuotaHeader& header) noexcept {
  if (!header.limit || !header.remaining) return false;
  const std::int64_t used = *header.limit - *header.remaining;
  return used * 100 >= *header.limit && near(period_by_law(header), minutes(1), 0.05);
}

}  // namespace

const char* to_string(QuotaUnit unit) noexcept {
  switch (unit) {
    case QuotaUnit::requests:
      return "requests";
    case QuotaUnit::tokens:
      return "tokens";
    case QuotaUnit::input_tokens:
      return "input tokens";
    case QuotaUnit::output_tokens:
      return "output tokens";
    case QuotaUnit::micros:
      return "money";
  }
  return "";
}

std::optional<QuotaUnit> unit_of(std::string_view dimension) noexcept {
  const auto has = [&](std::string_view word) {
    return dimension.find(word) != std::string_view::npos;
  };
  if (has("request")) return QuotaUnit::requests;
  if (!has("token")) return std::nullopt;
  if (has("input")) return QuotaUnit::input_tokens;
  if (has("output")) return QuotaUnit::output_tokens;
  return QuotaUnit::tokens;
}

std::optional<Duration> period_of(const QuotaHeader& header) noexcept {
  const double by_law = period_by_law(header);
  if (by_law <= 0) return std::nullopt;
  if (*header.reset <= minutes(1) + reset_slack) return minutes(1);
  for (const Duration candidate : periods) {
    if (near(by_law, candidate, 0.1)) return candidate;
  }
  for (const Duration candidate : periods) {  // a fixed window: its end is at most a period away
    if (*header.reset <= candidate + reset_slack) return candidate;
  }
  return std::nullopt;
}

QuotaDimension::QuotaDimension(const Rule& rule)
    : rule_(rule), ours_(1, minutes(1), {}), theirs_(1, minutes(1), {}) {
  set_rate(rule_.limit);
}

void QuotaDimension::settle(Instant now, const Ask& taken, const Ask& actual, Instant taken_at,
                            bool theirs_too) noexcept {
  const std::int64_t back = amount(taken, rule_.unit) - amount(actual, rule_.unit);
  if (back == 0) return;
  const Duration cost = ours_.cost(back);
  if (back < 0) return take(now, -cost);
  ours_.give_back(cost, taken_at, now);
  if (theirs_too) theirs_.give_back(cost, taken_at, now);
}

void QuotaDimension::drain(Instant now) noexcept {
  if (ours_.level(now) > 0) ours_.set_level(now, 0);
}

void QuotaDimension::set_rate(std::int64_t limit) noexcept {
  limit_ = limit;
  const std::int64_t usable = std::max<std::int64_t>(1, limit - left_to_others_);
  Duration burst = rule_.burst;
  if (rule_.period > minutes(1)) {
    burst = rule_.period;  // a day's quota is not doled out by the second
  } else if (proofs_ >= proofs_needed) {
    burst = std::max(burst, full_minute_burst);
  }
  const Duration period(std::llround(static_cast<double>(rule_.period.count()) / rule_.safety));
  ours_.set_rate(usable, period, burst);
  theirs_.set_rate(usable, period, period);
}

void QuotaDimension::adopt_limit(std::int64_t limit) noexcept {
  if (limit < 1) return;  // "0" is how some providers say that they do not say
  const std::int64_t usable = rule_.learnt ? limit : std::min(limit, rule_.limit);
  if (usable != limit_) set_rate(usable);
}

void QuotaDimension::adopt(const QuotaHeader& header) noexcept {
  if (header.limit) adopt_limit(*header.limit);
  const auto period = period_of(header);
  if (!rule_.learnt || !period) return;
  const bool was_proven = proofs_ >= proofs_needed;
  const bool fits = rule_.period == minutes(1) && fits_full_minute(header);
  proofs_ = fits ? std::min(proofs_ + 1, proofs_needed) : 0;
  const bool misjudged = *period > rule_.period;
  if (misjudged) rule_.period = *period;
  if (misjudged || was_proven != (proofs_ >= proofs_needed)) set_rate(limit_);
}

void QuotaDimension::lower_to(Instant now, std::int64_t units) noexcept {
  if (units < theirs_.level(now)) theirs_.set_level(now, units);
}

void QuotaDimension::correct(Instant now, std::int64_t units) noexcept {
  const std::int64_t level = theirs_.level(now);
  if (units - level <= limit_ / 50) {
    more_seen_ = 0;
    return lower_to(now, units);
  }
  if (more_seen_++ == 0) more_since_ = now;
  if (more_seen_ < raises_after || now - more_since_ < raises_over) return;
  more_seen_ = 0;
  theirs_.set_level(now, level + (units - level) / 4);
}

// The share of others is taken off the rate in steps of a fiftieth, so that a figure which is never
// quite still does not set a new rate with every response.
void QuotaDimension::observe_others(Instant at, std::int64_t remaining,
                                    std::int64_t charged) noexcept {
  others_.observe(at, remaining, charged, limit_, rule_.period);
  const auto taken = static_cast<std::int64_t>(others_.rate() *
                                               std::chrono::duration<double>(rule_.period).count());
  const bool over = taken == 0 && left_to_others_ > 0;
  if (!over && std::abs(taken - left_to_others_) * 50 <= limit_) return;
  left_to_others_ = taken;
  set_rate(limit_);
}

std::int64_t QuotaDimension::level(Instant now) const noexcept {
  return std::min(ours_.level(now), theirs_.level(now));
}

std::int64_t QuotaDimension::refilled(Duration time) const noexcept {
  return static_cast<std::int64_t>(static_cast<long double>(limit()) *
                                   static_cast<long double>(time.count()) /
                                   static_cast<long double>(period().count()));
}

std::string QuotaDimension::describe() const {
  const std::string others =
      left_to_others_ > 0 ? fmt::format(" (others take {} of them)", left_to_others_) : "";
  const std::string period_text = period() == minutes(1)   ? "min"
                                  : period() == seconds(1) ? "s"
                                  : period() == hours(1)   ? "hour"
                                  : period() == hours(24)
                                      ? "day"
                                      : fmt::format("{} s", period() / seconds(1));
  if (rule_.unit == QuotaUnit::micros) {
    return fmt::format("{:.2f} of money/{}{}", static_cast<double>(limit()) / 1e6, period_text,
                       others);
  }
  return fmt::format("{} {}/{}{}", limit(), to_string(rule_.unit), period_text, others);
}

}  // namespace moderato
