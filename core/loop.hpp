#pragma once

// Private header of the library: not installed.

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <typeindex>
#include <unordered_map>
#include <vector>

#include <moderato/core/fiber.hpp>
#include <moderato/core/poller.hpp>
#include <moderato/core/timer_queue.hpp>

namespace moderato {

/// One event loop: a thread's fibers, their sleepers, and what watches sockets under them. Fibers
/// never leave their loop, so nothing here is locked except the inbox.
class Loop {
 public:
  struct Options {
    std::size_t stack_size;
    std::size_t max_guarded_stacks;
    bool simulated = false;
    bool shuffle = false;
    std::uint64_t seed = 0;
  };

  Loop(RuntimeCore& core, const Options& options);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// The loop that is running on this thread; null on other threads.
  [[nodiscard]] static Loop* current() noexcept;
  /// The fiber that is running on this thread; null outside fibers.
  [[nodiscard]] static Fiber* current_fiber() noexcept;

  /// For Asio's operations. Only the loop's thread may give it work: others use post().
  [[nodiscard]] boost::asio::io_context& io() noexcept { return io_; }
  [[nodiscard]] Poller& poller() noexcept { return poller_; }
  [[nodiscard]] RuntimeCore& core() noexcept { return core_; }

  /// Runs `job` on the loop's thread, outside fibers. Thread safe.
  void post(std::function<void()> job);
  /// Starts a fiber for the task. Thread safe.
  void start(std::shared_ptr<TaskState> task);

  /// A service of this loop (connections, for example), made as T(Loop&) at first use. Its
  /// `void shutdown() noexcept` is called on the loop's thread when no fiber is left. Loop's
  /// thread.
  template <class T>
  [[nodiscard]] T& service() {
    auto& slot = services_[std::type_index(typeid(T))];
    if (!slot.object) {
      auto made = std::make_shared<T>(*this);
      slot.shutdown = [raw = made.get()] { raw->shutdown(); };
      slot.object = std::move(made);
    }
    return *static_cast<T*>(slot.object.get());
  }

  // --- Driving; one thread at a time ------------------------------------------------------------

  /// Runs until `done()`; asked whenever something ran. Throws Deadlock in a simulation.
  /// `limit`: virtual time stops there.
  void run(const std::function<bool()>& done, Instant limit = no_deadline);
  /// Runs what is ready; never waits. Returns whether anything ran.
  bool poll();
  /// Makes a waiting run() look at done() again. Thread safe.
  void wake() noexcept;
  /// Until `allow_waits`, every wait of every fiber ends as cancelled. Loop's thread, or nobody
  /// driving.
  void cancel_all();
  void allow_waits() noexcept { cancelling_ = false; }
  /// Ends the fiber's wait as cancelled, if it is in one. Loop's thread.
  static void cancel(Fiber& fiber);
  void shut_down_services() noexcept;

  // --- For WaitPoint
  // ------------------------------------------------------------------------------

  void suspend_current();
  /// Puts a parked fiber into the ready queue. Thread safe.
  void make_ready(Fiber& fiber);
  [[nodiscard]] TimerQueue& timers() noexcept { return timers_; }
  [[nodiscard]] bool cancelling() const noexcept { return cancelling_; }

  [[nodiscard]] std::size_t fibers() const noexcept { return fiber_count_.load(); }
  [[nodiscard]] bool has_inbox() const noexcept { return inbox_full_.load(); }

  // --- For the worker pool of a simulation: the loop stands still while a worker thread runs
  // --------

  /// Hands the job to the worker pool as soon as the current fiber has parked: were it handed over
  /// before, the order of events would depend on who is faster.
  void submit_when_parked(std::function<void()> job) { worker_job_ = std::move(job); }
  void worker_started() noexcept { active_workers_.fetch_add(1); }
  void worker_stopped() noexcept {
    active_workers_.fetch_sub(1);
    wake();
  }

 private:
  struct Service {
    std::shared_ptr<void> object;
    std::function<void()> shutdown;
  };

  void note_inbox() noexcept;
  void add_fiber(const std::shared_ptr<TaskState>& task);
  bool drain_inbox();
  bool run_ready();
  void resume(Fiber& fiber);
  void finish(Fiber& fiber);
  Fiber& next_ready();
  bool fire_timers();
  [[nodiscard]] bool asio_is_idle();
  bool poll_io();
  void wait_for_io();
  void wait_in_asio(Instant until);
  bool advance_time(Instant limit);
  void wait_for_workers();
  [[noreturn]] void report_deadlock() const;

  RuntimeCore& core_;
  const Options options_;
  boost::asio::io_context io_{1};
  std::optional<boost::asio::posix::stream_descriptor> poller_in_asio_;
  boost::asio::steady_timer timer_;  // for waits in Asio
  Poller poller_;

  FiberStackPool stacks_;
  TimerQueue timers_;
  std::deque<Fiber*> ready_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::atomic<std::size_t> fiber_count_{0};
  std::uint64_t next_fiber_ = 1;
  std::uint64_t random_state_;
  SwitchState loop_side_;
  bool cancelling_ = false;

  std::mutex inbox_mutex_;
  std::vector<Fiber*> inbox_ready_;
  std::vector<std::shared_ptr<TaskState>> inbox_tasks_;
  std::vector<std::function<void()>> inbox_jobs_;
  std::atomic<bool> inbox_full_{false};
  std::atomic<int> active_workers_{0};
  std::function<void()> worker_job_;

  std::unordered_map<std::type_index, Service> services_;
};

}  // namespace moderato
