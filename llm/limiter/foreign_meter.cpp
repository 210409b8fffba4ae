#include <moderato/llm/limiter/foreign_meter.hpp>

#include <cmath>

// Who else uses this key
//
// Between two responses the provider's bucket changes by what it refills, by what we charge, and by
// what everybody else charges:
//
//   remaining₂ − remaining₁ = refill − ours − others
//
// so `others` is what is left over. One pair of responses says little: answers overtake each other,
// and a charge may fall on either side of a look. So pairs are taken a second or more apart, and
// the result is smoothed over about five seconds. A full bucket does not refill: where it may have
// been full in between, what did not flow in looks like what others took, so the result is only an
// upper bound, and counts only if it is below what we think.
//
// The same figure also shows what is wrong with our own picture: a provider that charges twice, or
// that never gives back what we take as given back, looks exactly like somebody else on the key.
// The remedy is the same: send less.

namespace moderato {
namespace {

constexpr double smoothing_seconds = 5;
constexpr double noticed_share = 0.05;
constexpr auto apart = std::chrono::seconds(1);

}  // namespace

void ForeignMeter::observe(Instant at, std::int64_t remaining, std::int64_t charged,
                           std::int64_t limit, Duration period) noexcept {
  if (remaining_ >= 0 && at - at_ < apart) return;
  const double passed = std::chrono::duration<double>(at - at_).count();
  const double quota = static_cast<double>(limit) / std::chrono::duration<double>(period).count();
  const bool full = remaining * 100 >= limit * 97;
  const bool was_full = remaining_ * 100 >= limit * 97;
  if (remaining_ >= 0 && !full && !was_full && passed < 60) {
    const double others = quota * passed - static_cast<double>(charged - charged_) -
                          static_cast<double>(remaining - remaining_);
    const bool may_have_been_full =
        static_cast<double>(remaining_) + quota * passed >= static_cast<double>(limit);
    const double weight = 1.0 - std::exp(-passed / smoothing_seconds);
    if (!may_have_been_full || others / passed < rate_) {
      rate_ += weight * (others / passed - rate_);
      ++seen_;
    }
  } else if (full) {
    rate_ *= 0.5;
  }
  reported_ = rate_ > noticed_share * quota ? std::fmin(rate_, 0.95 * quota) : 0.0;
  at_ = at;
  remaining_ = remaining;
  charged_ = charged;
}

}  // namespace moderato
