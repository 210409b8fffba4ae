#include <moderato/core/loop.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <moderato/core/runtime_core.hpp>
#include <random>

// The order of one turn of the loop
//
//   1. the inbox: fibers woken, tasks started and jobs posted by other threads (in that order)
//   2. sleepers whose time has come, earliest first
//   3. ready fibers, first come first served (or drawn from the seed in a shuffled simulation)
//   4. turns of the poller's listeners (libcurl goes on with the exchanges that fibers started)
//   5. nothing ready: wait. Real time: for sockets, until the earliest sleeper. Simulation: jump to
//      the earliest sleeper; if there is none and fibers are left, nobody can ever run again: that
//      is a deadlock, and it is reported with who waits on what.
//
// A fiber is resumed from here only, never from inside a handler, so handlers stay short and a
// fiber's stack always stands on the loop's. Sockets are looked at after at most
// `resumes_between_polls` resumes, so that fibers which never wait cannot starve them.
//
// Where to wait
//
// There are two kinds of sockets: libcurl's, in the Poller's epoll, and those of Asio's operations,
// in an epoll that Asio does not show. Letting Asio watch the Poller as one of its descriptors
// serves both, but costs each HTTP exchange five system calls and 10,000 instructions, a tenth of
// all that a model call costs, even where nothing uses Asio. So the loop first asks Asio whether it
// has anything to wait for (an io_context without work stops at once when it is polled), and if not
// waits in the Poller alone: one epoll_wait for each wake-up, with the time-out that a timer would
// be.

namespace moderato {
namespace {

constexpr int resumes_between_polls = 64;

thread_local Loop* this_loop = nullptr;
thread_local Fiber* this_fiber = nullptr;

/// Marks the loop as the one of this thread while it is driven.
class Driving {
 public:
  explicit Driving(Loop& loop) : before_(this_loop) { this_loop = &loop; }
  ~Driving() { this_loop = before_; }
  Driving(const Driving&) = delete;
  Driving& operator=(const Driving&) = delete;

 private:
  Loop* before_;
};

}  // namespace

Loop::Loop(RuntimeCore& core, const Options& options)
    : core_(core),
      options_(options),
      timer_(io_),
      stacks_(options.stack_size, options.max_guarded_stacks),
      random_state_(options.seed) {}

Loop::~Loop() {
  services_.clear();
}

Loop* Loop::current() noexcept {
  return this_loop;
}
Fiber* Loop::current_fiber() noexcept {
  return this_fiber;
}

void Loop::wake() noexcept {
  poller_.wake();
}

// What came is announced under the inbox's lock: a thread that is not the runtime's (a journal's
// writer) may wake the last fiber, whose end destroys this loop, and must be done with it by then.
// The loop cannot take the fiber out before the lock is free.
void Loop::note_inbox() noexcept {
  // A simulation's loop never waits for its inbox: it stands still while other threads run.
  if (!inbox_full_.exchange(true) && this_loop != this && !options_.simulated) wake();
}

void Loop::post(std::function<void()> job) {
  const std::scoped_lock lock(inbox_mutex_);
  inbox_jobs_.push_back(std::move(job));
  note_inbox();
}

void Loop::start(std::shared_ptr<TaskState> task) {
  task->loop_ = this;
  if (this_loop == this) {
    add_fiber(task);
    core_.note_start();
    return;
  }
  const std::scoped_lock lock(inbox_mutex_);
  inbox_tasks_.push_back(std::move(task));
  core_.note_start();
  note_inbox();
}

void Loop::make_ready(Fiber& fiber) {
  if (this_loop == this) {
    ready_.push_back(&fiber);
    return;
  }
  const std::scoped_lock lock(inbox_mutex_);
  inbox_ready_.push_back(&fiber);
  note_inbox();
}

void Loop::add_fiber(const std::shared_ptr<TaskState>& task) {
  const FiberStack stack = stacks_.take();
  try {
    fibers_.push_back(std::make_unique<Fiber>(*this, stack, task, next_fiber_));
  } catch (...) {
    stacks_.give_back(stack);
    throw;
  }
  ++next_fiber_;
  fibers_.back()->index = fibers_.size() - 1;
  fiber_count_.store(fibers_.size());
  ready_.push_back(fibers_.back().get());
}

bool Loop::drain_inbox() {
  if (!inbox_full_.exchange(false)) return false;
  std::vector<Fiber*> woken;
  std::vector<std::shared_ptr<TaskState>> tasks;
  std::vector<std::function<void()>> jobs;
  {
    const std::scoped_lock lock(inbox_mutex_);
    woken.swap(inbox_ready_);
    tasks.swap(inbox_tasks_);
    jobs.swap(inbox_jobs_);
  }
  ready_.insert(ready_.end(), woken.begin(), woken.end());
  for (const auto& task : tasks) {
    try {
      add_fiber(task);
    } catch (...) {  // no memory for its stack: whoever joins it is told
      task->error_ = std::current_exception();
      core_.announce_end(*task);
    }
  }
  for (auto& job : jobs) job();
  return true;
}

Fiber& Loop::next_ready() {
  if (options_.shuffle && ready_.size() > 1) {
    random_state_ = random_state_ * 6364136223846793005U + 1442695040888963407U;
    std::swap(ready_.front(), ready_[(random_state_ >> 33U) % ready_.size()]);
  }
  Fiber* fiber = ready_.front();
  ready_.pop_front();
  return *fiber;
}

void Loop::resume(Fiber& fiber) {
  this_fiber = &fiber;
  fiber.resume(loop_side_);
  this_fiber = nullptr;
  if (fiber.ended()) finish(fiber);
}

void Loop::finish(Fiber& fiber) {
  const std::shared_ptr<TaskState> task = fiber.take_task();
  stacks_.give_back(fiber.stack());
  const std::size_t index = fiber.index;
  std::swap(fibers_[index], fibers_.back());
  fibers_[index]->index = index;
  fibers_.pop_back();
  fiber_count_.store(fibers_.size());
  core_.announce_end(*task);
}

bool Loop::run_ready() {
  bool ran = false;
  for (int count = 0; count < resumes_between_polls && !ready_.empty(); ++count) {
    resume(next_ready());
    ran = true;
    if (options_.simulated) wait_for_workers();
  }
  return ran;
}

bool Loop::fire_timers() {
  if (timers_.size() == 0) return false;
  const Instant now = core_.clock().now();
  bool fired = false;
  while (TimerQueue::Waiter* due = timers_.pop_due(now)) {
    due->point->wake(Wake::timed_out);
    fired = true;
  }
  return fired;
}

void Loop::wait_for_workers() {
  if (worker_job_) core_.workers().submit(std::exchange(worker_job_, nullptr), this);
  while (active_workers_.load() > 0) poller_.wait(no_deadline, core_.clock());
}

bool Loop::asio_is_idle() {
  if (io_.stopped()) io_.restart();
  io_.poll();
  return io_.stopped();
}

bool Loop::poll_io() {
  if (io_.stopped()) io_.restart();
  const bool any = io_.poll() > 0;
  return poller_.poll() || any;
}

void Loop::wait_for_io() {
  const bool idle = asio_is_idle();
  if (!ready_.empty() || inbox_full_.load()) return;  // a handler of Asio's did that
  const Instant until = std::min(timers_.earliest(), poller_.due());
  if (idle) {
    poller_.wait(until, core_.clock());
  } else {
    wait_in_asio(until);
  }
}

void Loop::wait_in_asio(Instant until) {
  if (!poller_in_asio_) poller_in_asio_.emplace(io_, poller_.duplicate());
  const auto nothing = [](const boost::system::error_code&) {};
  poller_in_asio_->async_wait(boost::asio::posix::stream_descriptor::wait_read, nothing);
  if (until != no_deadline) {
    timer_.expires_at(std::chrono::steady_clock::time_point(until.time_since_epoch()));
    timer_.async_wait(nothing);
  }
  io_.run_one();
  // Left there, they would look like work.
  poller_in_asio_->cancel();
  timer_.cancel();
  poller_.poll();
}

bool Loop::advance_time(Instant limit) {
  const Instant next = timers_.earliest();
  if (next == no_deadline || next > limit) {
    if (limit != no_deadline) core_.virtual_clock()->advance_to(limit);
    return false;
  }
  core_.virtual_clock()->advance_to(next);
  return true;
}

void Loop::run(const std::function<bool()>& done, Instant limit) {
  const Driving driving(*this);
  while (!done()) {
    bool ran = drain_inbox();
    ran |= fire_timers();
    ran |= run_ready();
    if (options_.simulated) {
      if (ran || !ready_.empty() || inbox_full_.load()) continue;
      if (advance_time(limit)) continue;
      if (limit != no_deadline || done()) return;
      if (!fibers_.empty()) report_deadlock();
      return;
    }
    poller_.take_turns(core_.clock());
    if (!ready_.empty()) {
      poll_io();
    } else if (!inbox_full_.load() && !done()) {
      wait_for_io();
    }
  }
}

bool Loop::poll() {
  const Driving driving(*this);
  bool ran = poll_io();
  ran |= drain_inbox();
  ran |= fire_timers();
  ran |= run_ready();
  ran |= poller_.take_turns(core_.clock());
  return ran;
}

void Loop::suspend_current() {
  Fiber* fiber = this_fiber;
  fiber->suspend();
}

void Loop::cancel_all() {
  cancelling_ = true;
  for (const auto& fiber : fibers_) cancel(*fiber);
}

void Loop::cancel(Fiber& fiber) {
  if (fiber.waiting_on != nullptr && fiber.waiting_cancellable) {
    fiber.waiting_on->wake(Wake::cancelled);
  }
}

void Loop::shut_down_services() noexcept {
  const Driving driving(*this);
  for (auto& [type, service] : services_) service.shutdown();
  services_.clear();
}

void Loop::report_deadlock() const {
  constexpr std::size_t most = 20;
  std::string text =
      fmt::format("deadlock: nothing is runnable, nobody sleeps, and {} fiber(s) wait for ever:",
                  fibers_.size());
  std::size_t listed = 0;
  for (const auto& fiber : fibers_) {
    if (listed++ == most) {
      text += fmt::format("\n  … and {} more", fibers_.size() - most);
      break;
    }
    text += fmt::format("\n  \"{}\" waits for {}", fiber->name(),
                        fiber->waiting_on != nullptr ? fiber->waiting_on->what() : "nothing");
  }
  throw Deadlock(text);
}

}  // namespace moderato
