#pragma once

// Private header of the library: not installed.

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <moderato/core/loop.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/core/worker_pool.hpp>

namespace moderato {

/// What a Runtime owns. Private to core and to the transports.
class RuntimeCore {
 public:
  struct Simulated {
    std::uint64_t seed = 0;
    bool shuffle = false;
  };

  RuntimeCore(Runtime& runtime, RuntimeOptions options, const Simulated* simulated);
  /// Cancels every wait, lets every fiber end, closes the connections, joins all threads.
  ~RuntimeCore();
  RuntimeCore(const RuntimeCore&) = delete;
  RuntimeCore& operator=(const RuntimeCore&) = delete;

  /// The core that a started task runs on.
  [[nodiscard]] static RuntimeCore& of(TaskState& task) noexcept { return task.loop_->core(); }

  [[nodiscard]] Runtime& runtime() noexcept { return runtime_; }
  [[nodiscard]] const RuntimeOptions& options() const noexcept { return options_; }
  [[nodiscard]] const Clock& clock() const noexcept { return *clock_; }
  /// The clock of a simulation; null in real time.
  [[nodiscard]] VirtualClock* virtual_clock() noexcept { return virtual_clock_; }
  [[nodiscard]] std::uint64_t random() noexcept;
  [[nodiscard]] WorkerPool& workers() noexcept { return *workers_; }
  [[nodiscard]] RuntimeStats stats() const;

  /// Starts a task: on the loop of the calling fiber, or on the next in turn.
  void start(std::shared_ptr<TaskState> task);
  /// The same, on the next loop in turn whoever calls.
  void start_anywhere(std::shared_ptr<TaskState> task);
  void wait_for_end(TaskState& task);
  /// False if the waiting fiber was cancelled before the task ended.
  [[nodiscard]] static bool wait_cancellably(TaskState& task);
  void request_stop(TaskState& task);
  void run_on_worker(std::function<void()> job);
  /// Called by the loop that is given a task, and when the task's fiber has ended.
  void note_start() noexcept { live_tasks_.fetch_add(1); }
  void announce_end(TaskState& task) noexcept;

  /// True when every fiber has ended and none is about to start.
  [[nodiscard]] bool idle() const noexcept;
  /// Drives the only loop on this thread until `done()`, taking turns with other threads that do.
  void drive(const std::function<bool()>& done, Instant limit = no_deadline);
  void run_until_stopped();
  void stop();
  bool poll();

 private:
  [[nodiscard]] bool self_driven() const noexcept { return threads_.empty(); }

  Runtime& runtime_;
  const RuntimeOptions options_;
  std::unique_ptr<Clock> clock_;
  VirtualClock* virtual_clock_ = nullptr;
  std::atomic<std::uint64_t> random_state_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::atomic<std::size_t> next_loop_{0};
  std::unique_ptr<WorkerPool> workers_;

  // Who drives the loop, where the runtime has no threads of its own.
  std::mutex driver_mutex_;
  std::condition_variable driver_changed_;
  bool driven_ = false;
  std::atomic<bool> stop_requested_{false};

  std::atomic<bool> ending_{false};
  std::atomic<std::size_t> live_tasks_{0};  // on all loops, those in their inboxes included
  std::vector<std::thread> threads_;
};

}  // namespace moderato
