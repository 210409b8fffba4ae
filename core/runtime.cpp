#include <moderato/core/runtime.hpp>

#include <algorithm>

#include <moderato/core/runtime_core.hpp>

namespace moderato {

Runtime::Runtime(RuntimeOptions options)
    : core_(std::make_unique<RuntimeCore>(*this, std::move(options), nullptr)) {}

Runtime::Runtime(RuntimeOptions options, Virtual simulated) {
  const RuntimeCore::Simulated how{.seed = simulated.seed, .shuffle = simulated.shuffle};
  core_ = std::make_unique<RuntimeCore>(*this, std::move(options), &how);
}

Runtime::~Runtime() = default;

void Runtime::run() {
  core_->run_until_stopped();
}
void Runtime::stop() {
  core_->stop();
}
bool Runtime::poll() {
  return core_->poll();
}

const Clock& Runtime::clock() const noexcept {
  return core_->clock();
}
const Observer& Runtime::observer() const noexcept {
  return core_->options().observer;
}
const std::shared_ptr<Ledger>& Runtime::ledger() const noexcept {
  return core_->options().ledger;
}
RuntimeStats Runtime::stats() const {
  return core_->stats();
}
bool Runtime::simulated() const noexcept {
  return core_->virtual_clock() != nullptr;
}
std::uint64_t Runtime::random() {
  return core_->random();
}

bool Runtime::on_fiber() noexcept {
  return Loop::current_fiber() != nullptr;
}

Runtime* Runtime::current() noexcept {
  if (Fiber* fiber = Loop::current_fiber()) return &fiber->loop().core().runtime();
  return WorkerPool::runtime_of_this_thread();
}

void Runtime::start(std::shared_ptr<TaskState> state) {
  core_->start(std::move(state));
}

void Runtime::run_on_worker(std::function<void()> job) {
  core_->run_on_worker(std::move(job));
}

void Runtime::wait_for_end(TaskState& state) {
  RuntimeCore::of(state).wait_for_end(state);
}
void Runtime::request_stop(TaskState& state) {
  RuntimeCore::of(state).request_stop(state);
}

void Runtime::for_each_index(std::size_t count, std::size_t max_in_flight,
                             const std::function<void(std::size_t)>& f) {
  struct Shared {
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    std::exception_ptr first_error;
  } shared;
  const auto note_failure = [&shared] {
    const std::scoped_lock lock(shared.mutex);
    if (!shared.first_error) shared.first_error = std::current_exception();
    shared.failed.store(true);
  };
  const auto work = [&] {
    while (!shared.failed.load()) {
      const std::size_t index = shared.next.fetch_add(1);
      if (index >= count) return;
      try {
        f(index);
      } catch (...) {
        note_failure();
      }
    }
  };
  const std::size_t fibers = std::min(count, std::max<std::size_t>(max_in_flight, 1));
  std::vector<Task<void>> tasks;
  tasks.reserve(fibers);
  try {
    for (std::size_t i = 0; i < fibers; ++i) {
      auto state = std::make_shared<Task<void>::Of<decltype(work)>>(std::string("parallel"), work);
      core_->start_anywhere(state);
      tasks.push_back(Task<void>(std::move(state)));
    }
  } catch (...) {  // no memory: those that run use what is on this stack
    note_failure();
  }
  join_all(tasks, note_failure);
  if (shared.first_error) std::rethrow_exception(shared.first_error);
}

void Runtime::join_all(std::vector<Task<void>>& tasks, const std::function<void()>& on_failure) {
  // A fiber that is cancelled while it waits here passes the cancellation on, and waits on.
  bool passed_on = false;
  for (Task<void>& task : tasks) {
    if (!passed_on && !RuntimeCore::wait_cancellably(*task.state_)) {
      passed_on = true;
      for (Task<void>& other : tasks) {
        if (other.valid() && !other.done()) other.cancel();
      }
    }
    try {
      task.join();
    } catch (...) {  // it could not be started
      on_failure();
    }
  }
}

}  // namespace moderato
