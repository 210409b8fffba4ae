#pragma once

// Private header of the library: not installed.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace moderato {

class Loop;
class Runtime;

/// Threads for work that blocks or needs a big stack. Bounded; made on demand, kept until the end.
class WorkerPool {
 public:
  WorkerPool(Runtime& runtime, std::size_t max_threads);
  ~WorkerPool();  ///< Waits for the jobs that run; queued ones have been waited for by their
                  ///< fibers.
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Queues a job. `simulated`: the loop that stands still meanwhile, or null. Thread safe.
  void submit(std::function<void()> job, Loop* simulated);
  [[nodiscard]] std::size_t jobs() const;  ///< Queued and running.

  /// On a worker thread: its runtime, and the simulation's loop that stands still; else null.
  [[nodiscard]] static Runtime* runtime_of_this_thread() noexcept;
  [[nodiscard]] static Loop* loop_standing_still() noexcept;

 private:
  struct Job {
    std::function<void()> run;
    Loop* simulated = nullptr;
  };
  void work();

  Runtime& runtime_;
  const std::size_t max_threads_;
  mutable std::mutex mutex_;
  std::condition_variable condition_;
  std::deque<Job> queue_;
  std::size_t idle_ = 0;
  std::size_t running_ = 0;
  bool ending_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace moderato
