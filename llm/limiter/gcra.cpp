#include <moderato/llm/limiter/gcra.hpp>

#include <algorithm>
#include <bit>

// A bucket as one instant
//
// The naive token bucket keeps a number of tokens and a time of last refill and multiplies by a
// rate at every call: two values that must change together, and rounding that adds up. This one
// keeps one integer: the instant at which the bucket will be full again. A call of n units moves it
// by n · period / limit; there is room if it then lies no more than `burst` ahead of now.
//
//   200,000 tokens a minute, burst 3 s (10,000 tokens). An idle bucket gets a call of 7,653 tokens:
//   it is full again 2.2959 s from now, which is within 3 s: admitted. The same again needs 4.5918
//   s: it waits 1.5918 s. The provider's own wording of the same law: wait = (used + requested −
//   limit) · period / limit.
//
// Rounding: period / limit is kept with as many fractional bits as fit, so that the error of a cost
// is below a nanosecond for any call that fits the limit at all. n · round(period / limit) would be
// off by up to half a nanosecond a unit: at a billion tokens a minute, by 0.8%.
//
// Giving back: moving the instant back by a refund is right only while the refunded charge is still
// owed. If the bucket has been full in the meantime, the charge had been worked off, and moving the
// instant back would hand out room that the provider never had.
//
//   100 units, refill 1/s. t=0: take 100. t=150: full since t=100; take 50. t=160: give back 90 of
//   the first. Naively nothing is owed then and 100 may go: 150 within ten seconds. In truth 40
//   are.
//
// Committed calls: a call may be granted up to a second before it leaves. It is charged at the
// instant at which it leaves, or the charge would have leaked away by then. And a refund that comes
// in between may not take away what such a call found owed: when it leaves, the bucket can be no
// fuller than full. So for the calls that have not left the bucket remembers what they found.
//
//   Refill 1/s, burst 10. t=0: take 8. A call of 3 for t=0.5 (another limit makes it wait): 7.5 are
//   owed there, 10.5 then. t=0.2: give back all of the 8. Without that call nothing is owed; with
//   it 3 are, from t=0.5 on. Naively 10.5 − 8 = 2.5 are owed at t=0.5, which is half a unit more
//   room than a full bucket has.

namespace moderato {
namespace {

__extension__ using Wide = __int128;

constexpr Duration longest = std::chrono::hours(24 * 365 * 50);  // three of them still fit

constexpr Duration rounding{1};  // a unit may have cost that much too much

}  // namespace

Gcra::Gcra(std::int64_t limit, Duration period, Duration burst) noexcept {
  set_rate(limit, period, burst);
}

void Gcra::set_rate(std::int64_t limit, Duration period, Duration burst) noexcept {
  limit_ = limit;
  period_ = period;
  burst_ = burst;
  shift_ =
      62 - static_cast<int>(std::bit_width(static_cast<std::uint64_t>(period.count() / limit)));
  scale_ = static_cast<std::uint64_t>(((Wide{period.count()} << shift_) + limit / 2) / limit);
}

Duration Gcra::cost(std::int64_t units) const noexcept {
  const Wide product = Wide{units} * Wide{scale_};
  const Wide half = shift_ > 0 ? Wide{1} << (shift_ - 1) : Wide{0};
  const Wide time = product < 0 ? -((half - product) >> shift_) : (product + half) >> shift_;
  if (time > longest.count()) return longest;
  if (time < -longest.count()) return -longest;
  return Duration(static_cast<Duration::rep>(time));
}

Duration Gcra::wait(Instant now, Duration cost, Duration ahead) const noexcept {
  const Duration owed = std::max(full_again_ + ahead, now) - now;
  return std::max(owed + cost - std::max(burst_, cost), Duration::zero());
}

Duration Gcra::idle(Instant at, Duration ahead) const noexcept {
  return std::max(at - (full_again_ + ahead), Duration::zero());
}

void Gcra::take(Instant at, Duration cost, Duration ahead) noexcept {
  if (full_again_ <= at) {
    found_full_ = at;
    full_again_ = at;
  }
  if (ahead > Duration::zero()) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < committed_count_; ++i) {
      if (committed_[i].leaves > at - ahead) committed_[kept++] = committed_[i];
    }
    if (kept == most_committed) {
      Committed& last = committed_[--kept];
      Committed& other = committed_[kept - 1];
      other = {std::max(other.leaves, last.leaves), std::min(other.owed, last.owed)};
    }
    committed_[kept] = {at, full_again_ - at};
    committed_count_ = kept + 1;
  }
  full_again_ = std::min(full_again_ + cost, at + longest);
}

void Gcra::give_back(Duration cost, Instant taken_at, Instant now) noexcept {
  if (taken_at < found_full_) return;
  cost = full_again_ - std::max(full_again_ - cost, found_full_);
  for (std::size_t i = 0; i < committed_count_; ++i) {
    if (committed_[i].leaves > now) {
      cost = std::min(cost, std::max(committed_[i].owed, Duration::zero()));
    }
  }
  lower_by(cost);
}

void Gcra::lower_by(Duration time) noexcept {
  for (std::size_t i = 0; i < committed_count_; ++i) committed_[i].owed -= time;
  full_again_ -= time;
}

std::int64_t Gcra::level(Instant now) const noexcept {
  const Duration owed = std::max(full_again_, now) - now;
  const Wide room = Wide{(burst_ - owed + rounding).count()} * limit_;
  const Wide period = period_.count();
  const Wide floor = room / period - (room % period < 0 ? 1 : 0);
  return static_cast<std::int64_t>(floor);
}

void Gcra::set_level(Instant now, std::int64_t units) noexcept {
  lower_by(full_again_ - (now + burst_ - cost(units)));
  if (full_again_ <= now) found_full_ = now;
}

}  // namespace moderato
