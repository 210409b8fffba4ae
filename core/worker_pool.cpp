#include <moderato/core/worker_pool.hpp>

#include <algorithm>
#include <system_error>

#include <moderato/core/loop.hpp>

namespace moderato {
namespace {

thread_local Runtime* this_runtime = nullptr;
thread_local Loop* this_loop = nullptr;

}  // namespace

WorkerPool::WorkerPool(Runtime& runtime, std::size_t max_threads)
    : runtime_(runtime), max_threads_(std::max<std::size_t>(max_threads, 1)) {}

WorkerPool::~WorkerPool() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  condition_.notify_all();
}

void WorkerPool::submit(std::function<void()> job, Loop* simulated) {
  const std::scoped_lock lock(mutex_);
  if (queue_.size() >= idle_ && threads_.size() < max_threads_) {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {  // no more threads: those that there are will come to it
      if (threads_.empty()) throw;
    }
  }
  queue_.push_back({.run = std::move(job), .simulated = simulated});
  if (simulated != nullptr) simulated->worker_started();
  condition_.notify_one();
}

std::size_t WorkerPool::jobs() const {
  const std::scoped_lock lock(mutex_);
  return queue_.size() + running_;
}

Runtime* WorkerPool::runtime_of_this_thread() noexcept {
  return this_runtime;
}
Loop* WorkerPool::loop_standing_still() noexcept {
  return this_loop;
}

void WorkerPool::work() {
  this_runtime = &runtime_;
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    condition_.wait(lock, [this] { return !queue_.empty() || ending_; });
    --idle_;
    if (queue_.empty()) return;
    Job job = std::move(queue_.front());
    queue_.pop_front();
    ++running_;
    lock.unlock();
    this_loop = job.simulated;
    job.run();
    this_loop = nullptr;
    lock.lock();
    --running_;
    lock.unlock();
    if (job.simulated != nullptr) job.simulated->worker_stopped();
    lock.lock();
  }
}

}  // namespace moderato
