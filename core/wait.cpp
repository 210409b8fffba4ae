#include <moderato/core/wait.hpp>

#include <condition_variable>
#include <mutex>
#include <optional>

#include <moderato/core/clock.hpp>
#include <moderato/core/loop.hpp>
#include <moderato/core/runtime_core.hpp>
#include <moderato/core/timer_queue.hpp>
#include <moderato/core/worker_pool.hpp>

// One wait, many wakers
//
// A wait can end by a notification, its deadline, a stop token, or the cancellation of its fiber,
// from any thread, and several may come at once. Whoever changes `state_` from waiting to woken
// wins, writes the reason and unparks the waiter; the others find nothing to do. The winner may
// touch the point until it unparks: the waiter cannot run before.
//
//   idle ──park──▶ waiting ──wake──▶ woken ──take_result──▶ idle
//   idle ──notify──▶ notified ──park──▶ idle            (the wait returns at once)
//   woken ──notify──▶ notified ──take_result──▶ idle    (a notification is never lost: it wins)

namespace moderato {

/// How an ordinary thread is parked.
struct WaitPoint::ThreadParking {
  std::mutex mutex;
  std::condition_variable condition;
  bool unparked = false;
  /// The loop of a simulation that stands still while this worker thread runs; null otherwise.
  Loop* standing_still = nullptr;

  void wait(Instant deadline, WaitPoint& point);
  void unpark();
};

void WaitPoint::ThreadParking::wait(Instant deadline, WaitPoint& point) {
  if (standing_still != nullptr) standing_still->worker_stopped();
  std::unique_lock lock(mutex);
  const auto is_unparked = [this] { return unparked; };
  if (deadline != no_deadline) {
    const std::chrono::steady_clock::time_point until(deadline.time_since_epoch());
    if (condition.wait_until(lock, until, is_unparked)) return;
    lock.unlock();
    point.wake(Wake::timed_out);
    lock.lock();
  }
  condition.wait(lock, is_unparked);
}

void WaitPoint::ThreadParking::unpark() {
  const std::scoped_lock lock(mutex);
  if (standing_still != nullptr) standing_still->worker_started();
  unparked = true;
  condition.notify_one();
}

void WaitPoint::notify() noexcept {
  wake(Wake::notified);
}

void WaitPoint::reset() noexcept {
  State expected = State::notified;
  state_.compare_exchange_strong(expected, State::idle);
}

void WaitPoint::wake(Wake reason) noexcept {
  State state = state_.load(std::memory_order_acquire);
  for (;;) {
    if (state == State::waiting) {
      if (!state_.compare_exchange_weak(state, State::woken)) continue;
      break;
    }
    if (reason != Wake::notified || state == State::notified) return;
    if (state_.compare_exchange_weak(state, State::notified)) return;
  }
  reason_ = reason;
  Waiter& waiter = *waiter_;
  if (waiter.fiber != nullptr) {
    waiter.fiber->loop().make_ready(*waiter.fiber);
    return;
  }
  waiter.thread->unpark();
}

Wake WaitPoint::take_result() noexcept {
  State expected = State::woken;
  if (state_.compare_exchange_strong(expected, State::idle)) return reason_;
  state_.store(State::idle);
  return Wake::notified;
}

Wake WaitPoint::wait(Instant deadline, const std::stop_token& stop) {
  return park(deadline, stop, true);
}

void WaitPoint::wait_for_notification() {
  while (park(no_deadline, {}, false) != Wake::notified) {
  }
}

Wake WaitPoint::park(Instant deadline, const std::stop_token& stop, bool cancellable) {
  State expected = State::notified;
  if (state_.compare_exchange_strong(expected, State::idle)) return Wake::notified;
  if (stop.stop_requested()) return Wake::cancelled;

  Fiber* fiber = Loop::current_fiber();
  Waiter waiter{.fiber = fiber, .point = this, .deadline = deadline};
  std::optional<ThreadParking> parking;
  if (fiber != nullptr) {
    Loop& loop = fiber->loop();
    if (cancellable && (fiber->cancelled() || loop.cancelling())) return Wake::cancelled;
    if (deadline != no_deadline && deadline <= loop.core().clock().now()) return Wake::timed_out;
  } else {
    waiter.thread = &parking.emplace();
    parking->standing_still = WorkerPool::loop_standing_still();
  }
  waiter_ = &waiter;
  expected = State::idle;
  if (!state_.compare_exchange_strong(expected, State::waiting)) {
    state_.store(State::idle);
    return Wake::notified;
  }

  std::optional<std::stop_callback<std::function<void()>>> on_stop;
  if (stop.stop_possible()) on_stop.emplace(stop, [this] { wake(Wake::cancelled); });
  if (fiber != nullptr) {
    Loop& loop = fiber->loop();
    if (deadline != no_deadline) loop.timers().add(waiter);
    fiber->waiting_on = this;
    fiber->waiting_cancellable = cancellable;
    loop.suspend_current();
    fiber->waiting_on = nullptr;
    loop.timers().remove(waiter);
  } else {
    parking->wait(deadline, *this);
  }
  on_stop.reset();
  return take_result();
}

Wake sleep_until(Instant until, const std::stop_token& stop) {
  Runtime* runtime = Runtime::current();
  if (runtime != nullptr && !Runtime::on_fiber()) {  // on a worker: sleep on the runtime's clock
    return runtime->block_on([&] { return sleep_until(until, stop); });
  }
  WaitPoint point("time to pass");
  return point.wait(until, stop);
}

Wake sleep_for(Duration duration, const std::stop_token& stop) {
  const Runtime* runtime = Runtime::current();
  const Instant now = runtime != nullptr ? runtime->clock().now() : SteadyClock().now();
  return sleep_until(saturating_add(now, duration), stop);
}

bool fiber_cancelled() noexcept {
  const Fiber* fiber = Loop::current_fiber();
  return fiber != nullptr && (fiber->cancelled() || fiber->loop().cancelling());
}

void yield_fiber() {
  Fiber* fiber = Loop::current_fiber();
  if (fiber == nullptr) return;
  fiber->loop().make_ready(*fiber);
  fiber->loop().suspend_current();
}

}  // namespace moderato
