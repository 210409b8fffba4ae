#include <moderato/llm/limiter/shared_acquire.hpp>

#include <variant>

namespace moderato {
namespace {

/// Gives a waiting call its place; the instant at which it may try.
Instant take_place(const QuotaKey& key, Arbiter& order, Arbiter::Place place, Instant now,
                   const Ask& ask, const Ticket& ticket) {
  const Duration cost = key.dominant_share(ask);
  const WaitEstimate estimate = key.expected_wait(now, ask, order.ahead_of(now, place, ticket));
  const Instant until = saturating_add(now, estimate.expected);
  order.waits(now, place, ticket, ask, cost, until);
  return until;
}

}  // namespace

Admission shared_acquire(QuotaKey& key, Arbiter& order, std::uint64_t owner, Instant now,
                         const Ask& ask, const Ticket& ticket, const NextInLine* next) {
  const Arbiter::Place place{owner, ticket.id};
  const Duration cost = key.dominant_share(ask);
  Admission admission = key.try_acquire(now, ask, order.ahead_of(now, place, ticket), ticket.retry);
  if (auto* granted = std::get_if<Granted>(&admission)) {
    order.granted(now, place, ticket, cost);
    if (next != nullptr) {
      granted->next =
          take_place(key, order, {owner, next->ticket.id}, now, next->ask, next->ticket);
    }
  } else if (const auto* wait = std::get_if<MustWait>(&admission)) {
    order.waits(now, place, ticket, ask, cost, wait->until);
  } else {
    order.withdraw(place);
  }
  return admission;
}

}  // namespace moderato
