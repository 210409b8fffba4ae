#include <moderato/llm/limiter/limiter_state.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

// Waiting without polling
//
// The naive limiter lets every waiting call sleep for a while and ask again. With a thousand
// waiting calls that is a thousand wake-ups for each that may go, the order is that of the luckiest
// timer, and a large call starves behind small ones. Here calls wait in a queue, and only the one
// at the front asks the backend, which answers with the exact instant at which there can be room.
// The front sleeps until then; everybody else sleeps until it is at the front (or its deadline). So
// one timer runs for a whole queue, and who leaves the front, with a permit or without, wakes the
// next.
//
// Where several limiters share a key, the backend decides between their first calls: those of the
// flows that go next here (so many at once) each ask, get a place in the order of all limiters and
// an instant of their own. A granted call brings the next one of its flow along in the same step
// (NextInLine): one question to the store for each call, although all of them wait.
//
// A permit that ends makes room that no timer knows of, so it wakes the front as well. The permit
// itself is never handed to a waiter: the waiter, once awake, asks for its own. A waiter that is
// cancelled at that very moment has nothing to give back; by leaving it wakes the next, and the
// room goes on.
//
// A call that finds nobody waiting asks the backend at once and takes no lock of ours. No wake-up
// is lost by that: a waiter counts itself in `waiting_` before it asks for the last time, and a
// permit that ends changes the backend before it looks at `waiting_`; the backend's own order
// decides who sees whom.
//
// A WaitPoint lives on its waiter's stack. It is notified only under `mutex_`, while its entry is
// in the queue, and the waiter takes the entry out under the same lock before it returns.

namespace moderato {
namespace {

constexpr Duration look_again =
    std::chrono::seconds(1);  // for room at others that nobody announces
// On a shared key the first calls of so many flows stand in the order of all limiters at once.
constexpr std::size_t tickets_at_once = 16;
constexpr Duration soon = std::chrono::milliseconds(200);  // not worth another question

/// Tokens that were reserved and not used.
std::int64_t tokens_returned(const Ask& ask, const Outcome& outcome) noexcept {
  const std::int64_t used = outcome.input_tokens + outcome.output_tokens;
  if (outcome.kind == Outcome::Kind::unknown) return 0;
  if (outcome.kind == Outcome::Kind::succeeded && used == 0) return 0;
  return ask.tokens() - used;
}

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

Error cancelled() {
  return {.code = ErrorCode::cancelled, .message = "cancelled before the call got a permit"};
}

Error beyond_deadline(Duration wait, const char* reason) {
  return {
      .code = ErrorCode::deadline_exceeded,
      .message = fmt::format("the quota ({}) has room in {:.3f} s at the earliest, which is after "
                             "the deadline: allow more time or send less",
                             reason, seconds(wait)),
      .retry_after = wait};
}

Error deadline_over() {
  return {.code = ErrorCode::deadline_exceeded,
          .message = "the deadline came before the call got a permit"};
}

bool ends_after(const WaitEstimate& estimate, Instant now, Instant deadline) {
  return deadline != no_deadline && saturating_add(now, estimate.at_least) >= deadline;
}

double weight_of(Priority priority) noexcept {
  switch (priority) {
    case Priority::interactive:
      return 8.0;
    case Priority::batch:
      return 1.0;
    default:
      return 4.0;
  }
}

std::uint64_t number_of(std::string_view session) noexcept {
  return session.empty() ? 0 : std::max<std::uint64_t>(std::hash<std::string_view>{}(session), 1);
}

}  // namespace

/// A place in the queue: left however the waiting ends.
class LimiterState::Place {
 public:
  Place(LimiterState& state, Entry& entry, const Clock& clock)
      : state_(state), entry_(entry), clock_(clock) {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { state_.leave(entry_, clock_.now()); }

 private:
  LimiterState& state_;
  Entry& entry_;
  const Clock& clock_;
};

LimiterState::LimiterState(Options options)
    : options_(std::move(options)), shared_(options_.backend->shared()) {
  if (shared_) on_room_ = options_.backend->on_room([this] { room_elsewhere(); });
}

tl::unexpected<Error> LimiterState::refuse(Error error) {
  const std::scoped_lock lock(mutex_);
  ++refusals_[error.code];
  return fail(std::move(error));
}

Result<Permit> LimiterState::admitted(const Granted& grant, const Ask& ask,
                                      const CallContext& context, const Clock& clock,
                                      Duration waited) {
  granted_.fetch_add(1, std::memory_order_relaxed);
  return Result<Permit>(tl::in_place,
                        PermitPart{.owner = shared_from_this(), .ask = ask, .grant = grant}, waited,
                        clock, context.observer);
}

Result<Permit> LimiterState::acquire(const Ask& ask, const CallContext& context, const Clock& clock,
                                     const Announce& queued) {
  if (context.stop.stop_requested()) return refuse(cancelled());
  const Instant now = clock.now();
  if (now >= context.deadline) return refuse(deadline_over());
  if (waiting_.load(std::memory_order_acquire) == 0) {
    const Ticket ticket{.weight = weight_of(context.priority), .retry = ask.attempt > 1};
    Admission admission = options_.backend->try_acquire(now, ask, ticket, nullptr);
    if (const auto* grant = std::get_if<Granted>(&admission)) {
      return admitted(*grant, ask, context, clock, {});
    }
    if (auto* refused = std::get_if<Refused>(&admission)) return refuse(std::move(refused->error));
  }
  Entry entry;
  entry.ask = ask;
  entry.arrived = now;
  entry.deadline = context.deadline;
  entry.conversation = number_of(context.session);
  entry.first_call = context.totals != nullptr && context.totals->snapshot().attempts == 0;
  entry.retry = ask.attempt > 1;
  auto permit = wait_in_queue(entry, context, clock, queued);
  const Instant leaves = now + (permit ? permit->waited() : Duration{});
  if (leaves > clock.now() && sleep_until(leaves, context.stop) == Wake::cancelled) {
    return refuse(cancelled());  // and the permit goes back
  }
  return permit;
}

Result<Permit> LimiterState::wait_in_queue(Entry& entry, const CallContext& context,
                                           const Clock& clock, const Announce& queued) {
  const auto notice = enter(entry, context);
  if (!notice) return refuse(notice.error());
  const Place place(*this, entry, clock);
  if (queued) queued(*notice);
  for (;;) {
    if (context.stop.stop_requested()) return refuse(cancelled());
    const Instant now = clock.now();
    if (now >= entry.deadline) return refuse(deadline_over());
    Instant wake_at = entry.deadline;
    if (turn_of(entry, now) == Turn::ask) {
      Admission admission = ask_for(entry, now);
      if (const auto* grant = std::get_if<Granted>(&admission)) {
        note_grant(entry, *grant);
        const Instant leaves = std::max(now, grant->start);
        return admitted(*grant, entry.ask, context, clock, leaves - entry.arrived);
      }
      if (auto* no = std::get_if<Refused>(&admission)) return refuse(std::move(no->error));
      const auto& wait = std::get<MustWait>(admission);
      entry.waits_for_room = wait.until == Instant::max();
      entry.held = wait.held;
      if (!entry.waits_for_room && wait.until >= entry.deadline) {
        return refuse(beyond_deadline(wait.until - now, wait.reason));
      }
      entry.not_before = entry.waits_for_room ? Instant{} : wait.until;
      wake_at = std::min(wake_at, wait.until);
      if (shared_) stand(entry, wait.lead, now);
      if (entry.waits_for_room && shared_) wake_at = std::min(wake_at, now + look_again);
    } else if (entry.not_before > now) {
      wake_at = std::min(wake_at, entry.not_before);
    } else {
      const WaitEstimate estimate = options_.backend->expected_wait(now, entry.ask, {});
      if (ends_after(estimate, now, entry.deadline)) {
        return refuse(beyond_deadline(estimate.at_least, estimate.reason));
      }
    }
    if (entry.turn.wait(wake_at, context.stop) == Wake::cancelled) return refuse(cancelled());
  }
}

/// Whether the entry may ask the backend now.
LimiterState::Turn LimiterState::turn_of(Entry& entry, Instant now) {
  const std::scoped_lock lock(mutex_);
  entry.armed = entry.has_ticket;
  if (!shared_) entry.armed = queue_.front(now) == &entry;
  if (shared_ && !entry.armed) {
    queue_.for_each_leading(now, tickets_at_once,
                            [&](const Entry& leading) { entry.armed |= &leading == &entry; });
  }
  const bool told_later = shared_ && entry.not_before > now;
  return entry.armed && !told_later ? Turn::ask : Turn::later;
}

/// The backend has said where the entry stands: that may make another one the front.
void LimiterState::stand(Entry& entry, std::int64_t lead, Instant now) {
  const std::scoped_lock lock(mutex_);
  queue_.set_lead(entry, lead);
  wake_next(now);
}

Ticket LimiterState::ticket_of(const Entry& entry) const {
  return {.id = entry.id,
          .flow = queue_.flow_hash(entry),
          .weight = queue_.weight(entry),
          .callers = static_cast<std::uint32_t>(queue_.callers(entry)),
          .queued = static_cast<std::uint32_t>(queue_.size()),
          .retry = entry.retry};
}

/// Asks the backend, without the lock: it may be far away.
Admission LimiterState::ask_for(Entry& entry, Instant now) {
  if (!shared_)
    return options_.backend->try_acquire(now, entry.ask, {.retry = entry.retry}, nullptr);
  Ticket ticket;
  NextInLine next;
  bool has_next = false;
  {
    const std::scoped_lock lock(mutex_);
    entry.has_ticket = true;
    ticket = ticket_of(entry);
    if (Entry* follower = queue_.after(entry); follower != nullptr) {
      has_next = true;
      next = {.ask = follower->ask, .ticket = ticket_of(*follower)};
      next.ticket.queued = std::max<std::uint32_t>(ticket.queued - 1, 1);
    }
  }
  return options_.backend->try_acquire(now, entry.ask, ticket, has_next ? &next : nullptr);
}

/// What the grant of an entry says of its flow and of the call behind it.
void LimiterState::note_grant(Entry& entry, const Granted& grant) {
  const std::scoped_lock lock(mutex_);
  entry.granted = true;
  entry.has_ticket = false;
  entry.share = grant.share;
  if (grant.next.until == Instant{}) return;
  Entry* follower = queue_.after(entry);
  if (follower == nullptr) return;
  follower->has_ticket = true;
  follower->not_before = grant.next.until;
  follower->held = grant.next.held;
  follower->armed = false;  // it still sleeps without an instant
  follower->turn.notify();
}

/// Puts the entry in its place in the queue, or says why not.
Result<QueuedNotice> LimiterState::enter(Entry& entry, const CallContext& context) {
  const QueueOptions& limits = options_.queue;
  const Instant now = entry.arrived;
  const std::scoped_lock lock(mutex_);
  double weight = weight_of(context.priority);
  for (const TenantWeight& own : limits.tenant_weights) {
    if (own.tenant == context.tenant) weight *= own.weight;
  }
  std::string flow = context.tenant;
  if (context.priority != Priority::normal) flow.append("\n").append(to_string(context.priority));
  const std::size_t of_flow = queue_.size_of_flow(flow);

  entry.id = ++tickets_;
  entry.cost =
      std::max(options_.backend->expected_wait(Instant{}, entry.ask, {}).size, Duration(1));
  queue_.push(entry, flow, weight);
  const QueuedAhead ahead = queue_.ahead_of(entry);
  const WaitEstimate estimate = options_.backend->expected_wait(now, entry.ask, ahead);
  std::optional<Error> error;
  if (ends_after(estimate, now, entry.deadline)) {
    error = beyond_deadline(estimate.at_least, estimate.reason);
  } else if (queue_.size() > limits.max_queue) {
    error = {.code = ErrorCode::queue_full,
             .message =
                 fmt::format("{} calls wait for this quota already (max_queue)", queue_.size() - 1),
             .retry_after = estimate.expected};
  } else if (limits.max_queue_per_tenant > 0 && of_flow >= limits.max_queue_per_tenant) {
    error = {.code = ErrorCode::queue_full,
             .message = fmt::format("{} calls of this tenant wait already (max_queue_per_tenant)",
                                    of_flow),
             .retry_after = estimate.expected};
  } else if (estimate.expected > limits.max_queue_time) {
    error = {.code = ErrorCode::queue_full,
             .message = fmt::format("the calls that wait already take {:.0f} s of the quota, more "
                                    "than max_queue_time",
                                    seconds(estimate.expected)),
             .retry_after = estimate.expected};
  }
  if (error) {
    queue_.remove(entry, false);
    return fail(std::move(*error));
  }
  queue_.note_idle(entry, estimate.idle);
  waiting_.store(queue_.size(), std::memory_order_release);
  return QueuedNotice{.reason = *estimate.reason != '\0' ? estimate.reason : "queue",
                      .expected_wait = estimate.expected,
                      .position = ahead.calls};
}

void LimiterState::leave(Entry& entry, Instant now) noexcept {
  std::uint64_t withdrawn = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (entry.has_ticket) withdrawn = entry.id;
    queue_.remove(entry, entry.granted);
    waiting_.store(queue_.size(), std::memory_order_release);
    wake_next(now);
  }
  if (withdrawn != 0) options_.backend->withdraw(now, withdrawn);
}

/// Under mutex_: who may ask now, and sleeps without an instant of its own.
void LimiterState::wake_next(Instant now) noexcept {
  if (!shared_) {
    if (Entry* front = queue_.front(now); front != nullptr) front->turn.notify();
    return;
  }
  queue_.for_each_leading(now, tickets_at_once, [](Entry& leading) {
    if (!leading.armed) leading.turn.notify();
  });
}

/// Under mutex_: `ask_again` forgets the instant that the front was told.
void LimiterState::wake_front(Entry& front, bool ask_again) {
  if (ask_again) front.not_before = {};
  if (ask_again || front.waits_for_room) front.turn.notify();
}

/// Another limiter's permit ended or left, or what it was told opened the key.
void LimiterState::room_elsewhere() {
  if (waiting_.load(std::memory_order_acquire) == 0) return;
  const std::scoped_lock lock(mutex_);
  queue_.for_each_front([](Entry& front) { wake_front(front, front.held); });
}

void LimiterState::settle(const PermitPart& part, const Clock& clock, const Observer& observer,
                          const Outcome& outcome) {
  const Instant now = clock.now();
  const auto change = options_.backend->settle(now, part.grant, part.ask, outcome);
  if (waiting_.load(std::memory_order_acquire) != 0) {
    wake_waiters(now, change, shared_ ? tokens_returned(part.ask, outcome) : 0);
  }
  if (!change || !observer) return;
  observer(Event{.at = now,
                 .data = LimiterChanged{.key = options_.name,
                                        .state = change->state,
                                        .lasting = change->lasting,
                                        .why = change->why}});
}

/// After a permit has ended: the front may find room. A change that holds calls up also wakes those
/// whose deadline comes before its end, so that they are refused now.
/// On a shared key the front sleeps until an instant that it was told when more was charged: if
/// enough has come back to make that much earlier, or the key's state has changed, it asks again.
void LimiterState::wake_waiters(Instant now, const std::optional<KeyChange>& change,
                                std::int64_t returned) {
  const std::scoped_lock lock(mutex_);
  if (change) {
    const Instant end = saturating_add(now, change->lasting);
    queue_.for_each([&](Entry& entry) {
      if (change->state == "closed") entry.not_before = {};
      if (entry.deadline < end || change->state == "closed") entry.turn.notify();
    });
  }
  if (!shared_) {
    if (Entry* front = queue_.front(now); front != nullptr) front->turn.notify();
    return;
  }
  queue_.for_each_front([&](Entry& front) {
    const bool earlier =
        returned * 8 >= front.ask.tokens() && returned > 0 && front.not_before > now + soon;
    wake_front(front, earlier || change);
  });
}

LimiterSnapshot LimiterState::snapshot(Instant now) const {
  LimiterSnapshot snapshot{.key = options_.backend->snapshot(now),
                           .granted = granted_.load(std::memory_order_relaxed)};
  snapshot.retries_left = snapshot.key.retries_left;
  const std::scoped_lock lock(mutex_);
  snapshot.queued = queue_.size();
  for (const auto& [code, count] : refusals_) {
    snapshot.refused += count;
    snapshot.refusals.push_back({.cause = code, .count = count});
  }
  return snapshot;
}

std::string LimiterState::describe() const {
  return fmt::format("{}: {}, at most {} waiting", options_.name, options_.backend->describe(),
                     options_.queue.max_queue);
}

Duration LimiterState::expected_wait(Instant now, const Ask& ask) const {
  const std::scoped_lock lock(mutex_);
  return options_.backend->expected_wait(now, ask, queue_.all()).expected;
}

}  // namespace moderato
