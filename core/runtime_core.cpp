#include <moderato/core/runtime_core.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

namespace moderato {
namespace {

/// SplitMix64: one addition a step, so that threads can share the state without a lock.
constexpr std::uint64_t golden_gamma = 0x9e3779b97f4a7c15U;

std::uint64_t mix(std::uint64_t z) noexcept {
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31U);
}

std::uint64_t seed_from_system() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32U) | device();
}

}  // namespace

RuntimeCore::RuntimeCore(Runtime& runtime, RuntimeOptions options, const Simulated* simulated)
    : runtime_(runtime),
      options_(std::move(options)),
      random_state_(simulated != nullptr ? simulated->seed : seed_from_system()),
      workers_(std::make_unique<WorkerPool>(runtime, options_.worker_threads)) {
  if (simulated != nullptr) {
    auto clock = std::make_unique<VirtualClock>();
    virtual_clock_ = clock.get();
    clock_ = std::move(clock);
  } else {
    clock_ = std::make_unique<SteadyClock>();
  }
  const std::size_t threads = simulated != nullptr ? 0 : options_.threads;
  const std::size_t loops = std::max<std::size_t>(threads, 1);
  const Loop::Options loop_options{.stack_size = options_.stack_size,
                                   .max_guarded_stacks = options_.max_guarded_stacks / loops,
                                   .simulated = simulated != nullptr,
                                   .shuffle = simulated != nullptr && simulated->shuffle,
                                   .seed = simulated != nullptr ? simulated->seed : 0};
  for (std::size_t i = 0; i < loops; ++i) {
    loops_.push_back(std::make_unique<Loop>(*this, loop_options));
  }
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, &loop = *loops_[i]] {
      loop.run([this] { return ending_.load(); });
      loop.cancel_all();
      // A fiber of another loop may still start one here.
      loop.run([this, &loop] { return live_tasks_.load() == 0 && !loop.has_inbox(); });
      loop.shut_down_services();
    });
  }
}

RuntimeCore::~RuntimeCore() {
  ending_.store(true);
  if (self_driven()) {
    Loop& loop = *loops_.front();
    loop.cancel_all();
    loop.run([this] { return idle(); });
    loop.shut_down_services();
  }
  for (const auto& loop : loops_) loop->wake();
  for (std::thread& thread : threads_) thread.join();
  workers_.reset();
}

std::uint64_t RuntimeCore::random() noexcept {
  return mix(random_state_.fetch_add(golden_gamma) + golden_gamma);
}

RuntimeStats RuntimeCore::stats() const {
  RuntimeStats stats{.worker_jobs = workers_->jobs()};
  for (const auto& loop : loops_) stats.fibers += loop->fibers();
  return stats;
}

void RuntimeCore::start(std::shared_ptr<TaskState> task) {
  Loop* here = Loop::current();
  if (here != nullptr && &here->core() == this) return here->start(std::move(task));
  start_anywhere(std::move(task));
}

void RuntimeCore::start_anywhere(std::shared_ptr<TaskState> task) {
  const std::size_t turn = next_loop_.fetch_add(1, std::memory_order_relaxed);
  loops_[turn % loops_.size()]->start(std::move(task));
}

void RuntimeCore::announce_end(TaskState& task) noexcept {
  if (live_tasks_.fetch_sub(1) == 1 && ending_.load()) {
    for (const auto& loop : loops_) loop->wake();
  }
  if (!self_driven()) {
    task.done_.store(true, std::memory_order_release);
    task.ended_.notify();
    return;
  }
  {
    const std::scoped_lock lock(driver_mutex_);
    task.done_.store(true, std::memory_order_release);
  }
  task.ended_.notify();
  driver_changed_.notify_all();
}

void RuntimeCore::wait_for_end(TaskState& task) {
  const bool may_drive =
      self_driven() && !Runtime::on_fiber() && WorkerPool::runtime_of_this_thread() == nullptr;
  if (may_drive) {
    if (Loop::current() != nullptr) {
      throw std::logic_error(
          "moderato: a blocking function was called on the loop's own thread outside a fiber (from "
          "a "
          "handler or an observer); use Runtime::spawn there");
    }
    drive([&task] { return task.done(); });
    return;
  }
  task.ended_.wait_for_notification();
}

bool RuntimeCore::wait_cancellably(TaskState& task) {
  const Wake wake = task.ended_.wait();
  if (wake == Wake::notified) task.ended_.notify();  // for join()
  return wake == Wake::notified;
}

bool RuntimeCore::idle() const noexcept {
  return std::all_of(loops_.begin(), loops_.end(),
                     [](const auto& loop) { return loop->fibers() == 0 && !loop->has_inbox(); });
}

void RuntimeCore::request_stop(TaskState& task) {
  task.cancelled_.store(true);
  task.loop_->post([state = task.shared_from_this()] {
    if (state->fiber_ != nullptr) Loop::cancel(*state->fiber_);
  });
}

void RuntimeCore::run_on_worker(std::function<void()> job) {
  if (!Runtime::on_fiber()) return job();  // an ordinary thread has a big stack and may block
  Loop& loop = *Loop::current();
  WaitPoint done("a job on the worker pool");
  std::exception_ptr error;
  auto run = [&] {
    try {
      job();
    } catch (...) {
      error = std::current_exception();
    }
    done.notify();
  };
  if (virtual_clock_ != nullptr) {
    loop.submit_when_parked(run);
  } else {
    workers_->submit(run, nullptr);
  }
  done.wait_for_notification();
  if (error) std::rethrow_exception(std::move(error));
}

void RuntimeCore::drive(const std::function<bool()>& done, Instant limit) {
  std::unique_lock lock(driver_mutex_);
  driver_changed_.wait(lock, [&] { return done() || !driven_; });
  if (done()) return;
  driven_ = true;
  lock.unlock();
  const auto hand_over = [&] {
    lock.lock();
    driven_ = false;
    lock.unlock();
    driver_changed_.notify_all();
  };
  Loop& loop = *loops_.front();
  try {
    loop.run(done, limit);
  } catch (const Deadlock& deadlock) {
    // What the stuck fibers refer to may end with the exception: let them end first.
    loop.cancel_all();
    try {
      loop.run([&loop] { return loop.fibers() == 0; });
    } catch (const Deadlock& stuck) {
      std::fprintf(stderr, "moderato: %s\n(after cancelling every wait)\n", stuck.what());
      std::abort();
    }
    loop.allow_waits();
    hand_over();
    throw;
  } catch (...) {
    hand_over();
    throw;
  }
  hand_over();
}

void RuntimeCore::run_until_stopped() {
  if (!self_driven()) {
    throw std::logic_error(
        "Runtime::run: this runtime has threads of its own; make it with {.threads = 0}");
  }
  drive([this] { return stop_requested_.load(); });
  stop_requested_.store(false);
}

void RuntimeCore::stop() {
  stop_requested_.store(true);
  for (const auto& loop : loops_) loop->wake();
}

bool RuntimeCore::poll() {
  if (!self_driven()) {
    throw std::logic_error(
        "Runtime::poll: this runtime has threads of its own; make it with {.threads = 0}");
  }
  {
    const std::scoped_lock lock(driver_mutex_);
    if (driven_) return false;
    driven_ = true;
  }
  const bool ran = loops_.front()->poll();
  {
    const std::scoped_lock lock(driver_mutex_);
    driven_ = false;
  }
  driver_changed_.notify_all();
  return ran;
}

}  // namespace moderato
