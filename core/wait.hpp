#pragma once

#include <atomic>
#include <cstdint>
#include <stop_token>

#include <moderato/core/time.hpp>

namespace moderato {

/// How a wait ended.
enum class Wake : std::uint8_t { notified, timed_out, cancelled };

/// The one primitive on which everything in the library waits: one waiter, a sticky notification.
/// On a fiber `wait` suspends that fiber; on an ordinary thread it blocks that thread.
///
/// Thread safety: `notify` may be called from any thread, any number of times, before, during or
/// after the wait; `wait` by one fiber or thread at a time. The owner keeps the object alive until
/// every notifier is done with it.
class WaitPoint {
 public:
  /// `what` is shown when a simulation reports a deadlock; it must outlive the object (a literal).
  explicit WaitPoint(const char* what) noexcept : what_(what) {}
  WaitPoint(const WaitPoint&) = delete;
  WaitPoint& operator=(const WaitPoint&) = delete;

  /// Waits until notify (at once if it came before), `deadline`, or `stop`; also ends as cancelled
  /// when the runtime shuts down or the fiber's task is cancelled. A notification wins over the
  /// others if both are there at the start. The deadline is on the clock of the runtime whose fiber
  /// waits; on an ordinary thread on SteadyClock's. After `notified` the point can be used again.
  Wake wait(Instant deadline = no_deadline, const std::stop_token& stop = {});

  /// Waits for notify and for nothing else, cancellation included: for what must end before its
  /// owner may go on (an operation that uses the owner's memory).
  void wait_for_notification();

  /// Ends the wait that is under way, or the next one.
  void notify() noexcept;

  /// Forgets a notification that nobody waited for.
  void reset() noexcept;

  [[nodiscard]] const char* what() const noexcept { return what_; }

 private:
  friend class Fiber;
  friend class Loop;
  friend class RuntimeCore;
  friend class TimerQueue;
  enum class State : std::uint8_t { idle, waiting, woken, notified };
  struct Waiter;  // the parked fiber or thread
  struct ThreadParking;

  void wake(Wake reason) noexcept;
  Wake park(Instant deadline, const std::stop_token& stop, bool cancellable);
  Wake take_result() noexcept;

  const char* what_;
  std::atomic<State> state_{State::idle};
  Wake reason_ = Wake::notified;
  Waiter* waiter_ = nullptr;
};

/// Sleeps on the current fiber (or thread). Wake::timed_out is the normal end.
Wake sleep_until(Instant until, const std::stop_token& stop = {});
Wake sleep_for(Duration duration, const std::stop_token& stop = {});

/// Lets other fibers run; returns at once on an ordinary thread.
void yield_fiber();
/// True on a fiber whose task was cancelled, or whose runtime is ending: its waits end as
/// cancelled, and a loop that never waits has to look here.
[[nodiscard]] bool fiber_cancelled() noexcept;

}  // namespace moderato
