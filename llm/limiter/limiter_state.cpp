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

}  // namespace

/// A place in the queue: left however the waiting ends.
class LimiterState::Place {
 public:
  Place(LimiterState& state, Entry& entry) : state_(state), entry_(entry) {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { state_.leave(entry_); }

 private:
  LimiterState& state_;
  Entry& entry_;
};

LimiterState::LimiterState(Options options)
    : options_(std::move(options)), retries_(options_.requests_per_second) {}

tl::unexpected<Error> LimiterState::refuse(Error error) {
  refused_.fetch_add(1, std::memory_order_relaxed);
  return fail(std::move(error));
}

Permit LimiterState::permit(const Self& self, const Granted& grant, const Ask& ask,
                            const CallContext& context, const Clock& clock, Duration waited) {
  granted_.fetch_add(1, std::memory_order_relaxed);
  Permit permit;
  permit.state_ = self;
  permit.ask_ = ask;
  permit.grant_ = grant;
  permit.waited_ = waited;
  permit.clock_ = &clock;
  permit.observer_ = context.observer;
  return permit;
}

Result<Permit> LimiterState::acquire(const Self& self, const Ask& ask, const CallContext& context,
                                     const Clock& clock, const Announce& queued) {
  if (context.stop.stop_requested()) return refuse(cancelled());
  const Instant now = clock.now();
  if (now >= context.deadline) return refuse(deadline_over());
  if (waiting_.load(std::memory_order_acquire) == 0) {
    Admission admission = options_.backend->try_acquire(now, ask);
    if (const auto* grant = std::get_if<Granted>(&admission)) {
      return permit(self, *grant, ask, context, clock, {});
    }
    if (auto* refused = std::get_if<Refused>(&admission)) return refuse(std::move(refused->error));
  }
  return wait_in_queue(self, now, ask, context, clock, queued);
}

Result<Permit> LimiterState::wait_in_queue(const Self& self, Instant arrived, const Ask& ask,
                                           const CallContext& context, const Clock& clock,
                                           const Announce& queued) {
  Entry entry{.ask = ask, .deadline = context.deadline};
  const auto notice = enter(entry, arrived);
  if (!notice) return refuse(notice.error());
  const Place place(*this, entry);
  if (queued) queued(*notice);
  for (;;) {
    if (context.stop.stop_requested()) return refuse(cancelled());
    const Instant now = clock.now();
    if (now >= entry.deadline) return refuse(deadline_over());
    Instant wake_at = entry.deadline;
    if (is_front(entry)) {
      Admission admission = options_.backend->try_acquire(now, ask);
      if (const auto* grant = std::get_if<Granted>(&admission)) {
        return permit(self, *grant, ask, context, clock, now - arrived);
      }
      if (auto* no = std::get_if<Refused>(&admission)) return refuse(std::move(no->error));
      const auto& wait = std::get<MustWait>(admission);
      if (wait.until != Instant::max() && wait.until >= entry.deadline) {
        return refuse(beyond_deadline(wait.until - now, wait.reason));
      }
      wake_at = std::min(wake_at, wait.until);
    } else {
      const WaitEstimate estimate = options_.backend->expected_wait(now, ask, {});
      if (ends_after(estimate, now, entry.deadline)) {
        return refuse(beyond_deadline(estimate.at_least, estimate.reason));
      }
    }
    if (entry.turn.wait(wake_at, context.stop) == Wake::cancelled) return refuse(cancelled());
  }
}

/// Puts the entry at the end of the queue, or says why not.
Result<QueuedNotice> LimiterState::enter(Entry& entry, Instant now) {
  const std::scoped_lock lock(mutex_);
  const WaitEstimate estimate = options_.backend->expected_wait(now, entry.ask, queue_.ahead());
  if (ends_after(estimate, now, entry.deadline)) {
    return fail(beyond_deadline(estimate.at_least, estimate.reason));
  }
  if (queue_.size() >= options_.max_queue) {
    return fail(
        {.code = ErrorCode::queue_full,
         .message = fmt::format("{} calls wait for this quota already (max_queue)", queue_.size()),
         .retry_after = estimate.expected});
  }
  const std::size_t position = queue_.size();
  entry.idle = estimate.idle;
  queue_.push(entry);
  waiting_.store(queue_.size(), std::memory_order_release);
  return QueuedNotice{.reason = *estimate.reason != '\0' ? estimate.reason : "queue",
                      .expected_wait = estimate.expected,
                      .position = position};
}

void LimiterState::leave(Entry& entry) noexcept {
  const std::scoped_lock lock(mutex_);
  const bool was_front = queue_.front() == &entry;
  queue_.remove(entry);
  waiting_.store(queue_.size(), std::memory_order_release);
  if (was_front && queue_.front() != nullptr) queue_.front()->turn.notify();
}

bool LimiterState::is_front(const Entry& entry) const {
  const std::scoped_lock lock(mutex_);
  return queue_.front() == &entry;
}

void LimiterState::settle(const Permit& permit, const Outcome& outcome) {
  const Instant now = permit.clock_->now();
  const auto change = options_.backend->settle(now, permit.grant_, permit.ask_, outcome);
  if (waiting_.load(std::memory_order_acquire) != 0) wake_waiters(now, change);
  if (!change || !permit.observer_) return;
  permit.observer_(Event{.at = now,
                         .data = LimiterChanged{.key = options_.name,
                                                .state = change->state,
                                                .lasting = change->lasting,
                                                .why = change->why}});
}

/// After a permit has ended: the front may find room. A change that holds calls up also wakes those
/// whose deadline comes before its end, so that they are refused now.
void LimiterState::wake_waiters(Instant now, const std::optional<KeyChange>& change) {
  const std::scoped_lock lock(mutex_);
  if (change) {
    const Instant end = saturating_add(now, change->lasting);
    queue_.for_each([&](Entry& entry) {
      if (entry.deadline < end) entry.turn.notify();
    });
  }
  if (queue_.front() != nullptr) queue_.front()->turn.notify();
}

bool LimiterState::take_retry(Instant now) {
  const std::scoped_lock lock(mutex_);
  return retries_.take(now);
}

void LimiterState::count_first_attempt() {
  const std::scoped_lock lock(mutex_);
  retries_.count_first_attempt();
}

Limiter::Snapshot LimiterState::snapshot(Instant now) const {
  const std::scoped_lock lock(mutex_);
  return {.key = options_.backend->snapshot(now),
          .queued = queue_.size(),
          .granted = granted_.load(),
          .refused = refused_.load(),
          .retries_left = retries_.left()};
}

std::string LimiterState::describe() const {
  return fmt::format("{}: {}, at most {} waiting", options_.name, options_.backend->describe(),
                     options_.max_queue);
}

}  // namespace moderato
