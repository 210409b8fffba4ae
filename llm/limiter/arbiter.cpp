#include <moderato/llm/limiter/arbiter.hpp>

#include <algorithm>
#include <cmath>

// Fair between processes
//
// Eight processes share a key, and one of them holds half of all waiting calls. If whoever asks
// first goes first, that process gets half of the quota, and a tenant who lives in another one an
// eighth of what is left. If the quota is split in eight, seven shares idle whenever their owners
// do.
//
// Start-time fair queueing gives each flow (tenant) its share of what is really used. Every call
// gets a start on a virtual time line: the later of "now" on that line and the finish of its flow's
// previous call; its finish is start + cost / weight. Smallest start goes first, and "now" is the
// earliest start of those who wait. A flow that was idle starts at now: it has saved up nothing. A
// flow that took much has its next start far ahead. The cost of a call is its dominant share: the
// longest time of quota that it takes in any dimension, so that heavy in tokens and heavy in
// requests can be compared.
//
//   A has weight 1 and calls of 2 s, B weight 1 and calls of 1 s. Starts: A 0, 2, 4; B 0, 1, 2, 3.
//   Order A B B A B B: A gets one call for two of B, the same share of the quota.
//
// A flow that has calls in several processes is split between them by the number of its calls that
// wait in each, so that neither the tenant nor the chats of a tenant gain by where they run. A
// process whose calls are all under way still counts while its finish lies ahead of now: it will
// wait for that when it is back, and if the others took its part meanwhile the tenant would have it
// twice (with weights 1:2:3:4 in eight processes the shares were off by 14 %).
//
// When may a ticket go? The naive rule "only the first" makes all wait for a first whose timer is
// late or whose process has died. Instead the costs of all earlier tickets are counted as gone
// before: a call goes when there is room for them and for itself. So each has an exact instant of
// its own, a late one holds up nobody, and a dead one costs the others its own share once, until
// its ticket expires.
//
// A flow whose finish lies behind "now" is like one that never was: when the table is full the
// flow with the smallest finish is forgotten.

namespace moderato {
namespace {

std::int64_t scaled(Duration cost, double weight) noexcept {
  const double length = static_cast<double>(cost.count()) / std::max(weight, 1e-6);
  return static_cast<std::int64_t>(std::min(length, 1e17));
}

}  // namespace

Arbiter::Waiting* Arbiter::find(Holder place) noexcept {
  if (place.ticket == 0) return nullptr;
  for (std::size_t i = 0; i < ticket_count_; ++i) {
    if (tickets_[i].place == place) return &tickets_[i];
  }
  return nullptr;
}

const Arbiter::Waiting* Arbiter::find(Holder place) const noexcept {
  return const_cast<Arbiter*>(this)->find(place);
}

void Arbiter::remove(Waiting& waiting) noexcept {
  waiting = tickets_[--ticket_count_];
}

void Arbiter::drop_expired(Instant now) noexcept {
  for (std::size_t i = ticket_count_; i-- > 0;) {
    if (tickets_[i].expires <= now) remove(tickets_[i]);
  }
}

Arbiter::VirtualTime Arbiter::start_of(Holder place, const Ticket& ticket) const noexcept {
  for (std::size_t i = 0; i < flow_count_; ++i) {
    const Flow& flow = flows_[i];
    if (flow.owner == place.owner && flow.flow == ticket.flow) return std::max(now_, flow.finish);
  }
  return now_;
}

double Arbiter::share(Holder place, const Ticket& ticket) const noexcept {
  const std::uint32_t own = std::max<std::uint32_t>(ticket.callers, 1);
  std::uint64_t all = own;
  for (std::size_t i = 0; i < flow_count_; ++i) {
    const Flow& other = flows_[i];
    if (other.flow == ticket.flow && other.owner != place.owner && other.finish > now_) {
      all += other.callers;
    }
  }
  return own / static_cast<double>(all);
}

std::int64_t Arbiter::lead(Holder place) const noexcept {
  const Waiting* own = find(place);
  return own != nullptr ? std::max<VirtualTime>(own->start - now_, 0) : 0;
}

Arbiter::VirtualTime Arbiter::length_of(Holder place, const Ticket& ticket,
                                        Duration cost) const noexcept {
  return scaled(cost, ticket.weight * share(place, ticket));
}

void Arbiter::set_finish(Holder place, const Ticket& ticket, VirtualTime finish) noexcept {
  const std::uint32_t callers = std::max<std::uint32_t>(ticket.callers, 1);
  Flow* oldest = nullptr;
  for (std::size_t i = 0; i < flow_count_; ++i) {
    Flow& entry = flows_[i];
    if (entry.owner == place.owner && entry.flow == ticket.flow) {
      entry.finish = finish;
      entry.callers = callers;
      return;
    }
    if (oldest == nullptr || entry.finish < oldest->finish) oldest = &entry;
  }
  if (flow_count_ < max_flows && (oldest == nullptr || oldest->finish > now_)) {
    oldest = &flows_[flow_count_++];
  }
  *oldest = {.owner = place.owner, .flow = ticket.flow, .finish = finish, .callers = callers};
}

QueuedAhead Arbiter::ahead_of(Instant now, Holder place, const Ticket& ticket) {
  drop_expired(now);
  const Waiting* own = find(place);
  const VirtualTime start = own != nullptr ? own->start : start_of(place, ticket);
  const std::uint64_t arrival = own != nullptr ? own->arrival : arrivals_ + 1;
  QueuedAhead ahead;
  for (std::size_t i = 0; i < ticket_count_; ++i) {
    const Waiting& other = tickets_[i];
    if (&other == own || other.start > start) continue;
    if (other.start == start && other.arrival > arrival) continue;
    ++ahead.calls;
    ahead.cost += other.ask;
  }
  return ahead;
}

// A limiter shows only its first calls. Behind such a call, but not before "now", its flow brings
// one more after each `length` until our start, as long as it has some.
QueuedAhead Arbiter::expected_ahead_of(Holder place, const Ticket& ticket) const {
  const Waiting* own = find(place);
  const VirtualTime start = own != nullptr ? own->start : start_of(place, ticket);
  QueuedAhead ahead;
  for (std::size_t i = 0; i < ticket_count_; ++i) {
    const Waiting& other = tickets_[i];
    if (&other == own || other.start > start) continue;
    const VirtualTime length = std::max<VirtualTime>(other.length, 1);
    const VirtualTime next = std::max(now_, other.start + length);
    const VirtualTime more = start > next ? 1 + (start - next - 1) / length : 0;
    const auto calls = std::min<VirtualTime>({other.callers, 1 + more, 64});
    ahead.calls += static_cast<std::size_t>(calls);
    for (VirtualTime n = 0; n < calls; ++n) ahead.cost += other.ask;
  }
  return ahead;
}

void Arbiter::granted(Instant now, Holder place, const Ticket& ticket, Duration cost) {
  drop_expired(now);
  if (Waiting* own = find(place)) {
    const VirtualTime start = own->start;
    remove(*own);  // its flow paid when it took its place
    return pass(start);
  }
  const VirtualTime start = start_of(place, ticket);
  set_finish(place, ticket, start + length_of(place, ticket, cost));
  pass(start);
}

void Arbiter::pass(VirtualTime gone) noexcept {
  for (std::size_t i = 0; i < ticket_count_; ++i) gone = std::min(gone, tickets_[i].start);
  now_ = std::max(now_, gone);
}

void Arbiter::waits(Instant now, Holder place, const Ticket& ticket, const Ask& ask, Duration cost,
                    Instant until) {
  if (place.ticket == 0) return;
  const Instant expires = (until == Instant::max() ? now : std::max(until, now)) + patience;
  if (Waiting* own = find(place)) {
    own->until = until;
    own->expires = expires;
    own->callers = ticket.callers;
    own->queued = ticket.queued;
    return;
  }
  if (ticket_count_ == max_tickets) return;
  const VirtualTime start = start_of(place, ticket);
  const VirtualTime length = length_of(place, ticket, cost);
  tickets_[ticket_count_++] = {.place = place,
                               .flow = ticket.flow,
                               .arrival = ++arrivals_,
                               .start = start,
                               .length = length,
                               .callers = ticket.callers,
                               .queued = ticket.queued,
                               .ask = ask,
                               .until = until,
                               .expires = expires};
  set_finish(place, ticket, start + length);
}

void Arbiter::withdraw(Holder place) noexcept {
  Waiting* own = find(place);
  if (own == nullptr) return;
  for (std::size_t i = 0; i < flow_count_; ++i) {
    Flow& flow = flows_[i];
    if (flow.owner == place.owner && flow.flow == own->flow) flow.finish -= own->length;
  }
  remove(*own);
}

void Arbiter::drop_owner(std::uint64_t owner) noexcept {
  for (std::size_t i = ticket_count_; i-- > 0;) {
    if (tickets_[i].place.owner == owner) remove(tickets_[i]);
  }
  for (std::size_t i = flow_count_; i-- > 0;) {
    if (flows_[i].owner == owner) flows_[i] = flows_[--flow_count_];
  }
}

std::optional<Arbiter::First> Arbiter::first(Instant now) const noexcept {
  const Waiting* found = nullptr;
  for (std::size_t i = 0; i < ticket_count_; ++i) {
    const Waiting& other = tickets_[i];
    if (other.expires <= now) continue;
    if (found == nullptr || other.start < found->start ||
        (other.start == found->start && other.arrival < found->arrival)) {
      found = &other;
    }
  }
  if (found == nullptr) return std::nullopt;
  return First{.place = found->place, .ask = found->ask, .until = found->until};
}

std::size_t Arbiter::waiting(Instant now) const noexcept {
  return static_cast<std::size_t>(
      std::count_if(tickets_.begin(), tickets_.begin() + static_cast<std::ptrdiff_t>(ticket_count_),
                    [&](const Waiting& ticket) { return ticket.expires > now; }));
}

}  // namespace moderato
