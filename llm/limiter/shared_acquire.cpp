#include <moderato/llm/limiter/shared_acquire.hpp>

#include <algorithm>
#include <variant>

// One question for each call
//
// A waiting call is told when to come. By then the order may have changed: others with an earlier
// start have arrived, calls under way have given something back. If it comes too early and is sent
// away again, each call costs two or three questions to a store that may be a network away; if it
// comes too late, room has stood unused. So it is told to come half a horizon early, and who comes
// within the horizon of its instant is not sent away: the room is charged now, and the call leaves
// at its instant. Nothing changes for the provider, because what was charged ahead is a debt that
// all later calls wait for.

namespace moderato {
namespace {

constexpr Duration horizon = std::chrono::milliseconds(1000);

/// While the rate grows again, a wait at the present rate is longer than it will be: come when the
/// full rate would have room, but not before an eighth of the wait is over, and ask again.
Instant at_full_rate(const QuotaKey& key, Instant now, Instant until) {
  if (until <= now || until == Instant::max()) return until;
  return now + (until - now) / 1000 * std::max(key.state().share(now), 125);
}

/// Gives a waiting call its place.
Place take_place(const QuotaKey& key, Arbiter& order, Arbiter::Holder place, Instant now,
                 const Ask& ask, const Ticket& ticket) {
  const Duration cost = key.dominant_share(ask);
  const WaitEstimate estimate = key.expected_wait(now, ask, order.expected_ahead_of(place, ticket));
  const Instant expected = saturating_add(now, estimate.expected);
  order.waits(now, place, ticket, ask, cost, expected);
  return {.until = std::max(now, at_full_rate(key, now, expected) - horizon / 2),
          .lead = order.lead(place),
          .held = key.state().held_until(now) > now};
}

}  // namespace

Admission shared_acquire(QuotaKey& key, Arbiter& order, std::uint64_t owner, Instant now,
                         const Ask& ask, const Ticket& ticket, const NextInLine* next) {
  const Arbiter::Holder place{owner, ticket.id};
  const Duration cost = key.dominant_share(ask);
  const Duration early = ticket.id != 0 ? horizon : Duration{};
  Admission admission =
      key.try_acquire(now, ask, order.ahead_of(now, place, ticket), ticket.retry, early);
  if (auto* granted = std::get_if<Granted>(&admission)) {
    granted->share = order.share(place, ticket);
    order.granted(now, place, ticket, cost);
    if (next != nullptr) {
      granted->next =
          take_place(key, order, {owner, next->ticket.id}, now, next->ask, next->ticket);
    }
  } else if (auto* wait = std::get_if<MustWait>(&admission)) {
    if (wait->until == Instant::max()) {
      order.waits(now, place, ticket, ask, cost, wait->until);
    } else {
      const Instant come = take_place(key, order, place, now, ask, ticket).until;
      const bool held = wait->until <= now + horizon;  // not for want of room: come in time
      const Instant room = at_full_rate(key, now, wait->until);
      if (!held) wait->until = std::max({room - horizon / 2, come, now + (wait->until - now) / 8});
    }
    wait->lead = order.lead(place);
  } else {
    order.withdraw(place);
  }
  return admission;
}

}  // namespace moderato
