#include <moderato/llm/limiter/rate_governor.hpp>

#include <algorithm>
#include <cmath>

// A quota that nobody states
//
// Additive increase and multiplicative decrease, as congestion control began, spends most of its
// time far from the limit: it falls by half and climbs back in a straight line. The cubic curve
// (RFC 9438, and the retry mode of the AWS SDKs) remembers at which rate it was refused (the peak),
// returns quickly to just below it, stays there for long, and only then tries more, faster and
// faster in case the limit has been raised:
//
//   rate(t) = peak · (1 + 0.3 · ((t − K) / K)³),   rate(0) = 0.7 · peak
//
// RFC 9438 derives K from a constant that suits round-trip times; here what matters is how often a
// refusal may be provoked: with K = 150 s, one in five minutes.
//
//   peak 10 requests/s: 7.0 at once, 8.7 after 30 s, 9.6 after 75 s, 10 at 150 s, 10.4 at 225 s.
//
// Two guards. A client that does not use what it has learns nothing by not being refused: while it
// uses less than four fifths of the rate, the curve stands still. And the rate never exceeds twice
// what was really answered.
//
// The first refusal of a provider that counts by the minute comes after a whole minute's quota went
// in a few seconds, so what was measured is too high. Then the next refusal comes soon, and 0.7ⁿ is
// there in four or five steps.

namespace moderato {
namespace {

constexpr double after_refusal = 0.7;
constexpr double plateau_seconds = 150;
constexpr double lowest_rate = 1.0 / 6;  // ten requests a minute
constexpr double window_seconds = 10;
constexpr auto burst = std::chrono::seconds(1);

double seconds(Duration duration) noexcept {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

Duration RateGovernor::wait(Instant now, std::int64_t requests, std::int64_t ahead) const noexcept {
  if (!active_) return {};
  return pace_.wait(now, pace_.cost(requests), pace_.cost(ahead));
}

void RateGovernor::take(Instant at, std::int64_t requests, Duration ahead) noexcept {
  if (active_) pace_.take(at, pace_.cost(requests), ahead);
}

void RateGovernor::give_back(Instant now, Instant taken_at, std::int64_t requests) noexcept {
  if (active_) pace_.give_back(pace_.cost(requests), taken_at, now);
}

void RateGovernor::set_rate(double rate) noexcept {
  rate_ = rate;
  constexpr std::int64_t fine = 1000;  // the rate in requests per 1,000 s is a whole number
  const auto limit = std::max<std::int64_t>(1, std::llround(rate * static_cast<double>(fine)));
  pace_.set_rate(limit, std::chrono::seconds(fine), burst);
}

void RateGovernor::succeeded(Instant now) noexcept {
  if (measured_at_ == Instant{}) measured_at_ = now;
  const double passed = seconds(now - measured_at_);
  measured_ = measured_ * std::exp(-passed / window_seconds) + 1.0 / window_seconds;
  measured_at_ = now;
  if (!active_) return;
  if (measured_ < 0.8 * rate_) {
    cut_at_ += std::chrono::duration_cast<Duration>(std::chrono::duration<double>(passed));
    return;
  }
  const double x = (seconds(now - cut_at_) - plateau_seconds) / plateau_seconds;
  const double wanted = peak_ * (1.0 + (1.0 - after_refusal) * x * x * x);
  const double grown = std::min(wanted, std::max(2.0 * measured_, lowest_rate));
  if (grown > rate_ * 1.005) set_rate(grown);
}

void RateGovernor::refused(Instant now) noexcept {
  const double before = active_ ? rate_ : std::max(measured_, lowest_rate);
  peak_ = before;
  active_ = true;
  cut_at_ = now;
  set_rate(std::max(before * after_refusal, lowest_rate));
}

}  // namespace moderato
