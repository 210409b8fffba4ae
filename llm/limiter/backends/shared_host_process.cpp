#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>
#include <moderato/llm/limiter/backends/shared_host_backend.hpp>
#include <new>
#include <utility>

// Who hears the bell
//
// A grant that ends in one process may make room for a call that waits in another, earlier than
// that was told. Polling would find out; here the process that ended it looks who is first, and if
// that one may go now, rings its bell: a word in the file, on which one thread of each process
// sleeps. In the same process no thread is needed: the listener is called at once.
//
// Nobody rings for a process that is killed. So as long as somebody here waits, the same thread
// wakes five times a second and asks the kernel who is alive (one system call for each seat in
// use). What it finds dead is dropped: its tickets and its slots are free again.

namespace moderato {
namespace {

constexpr int checks_after_a_wait = 3000;  // ten minutes

void futex_wake(std::atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE, INT_MAX, nullptr,
            nullptr, 0);
}

/// True if the time was over.
bool futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t seen,
                const timespec* time) noexcept {
  return ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT, seen, time,
                   nullptr, 0) != 0 &&
         errno == ETIMEDOUT;
}

SharedHostFile::Layout layout(const QuotaRules& rules) {
  return {.version = SharedHostState::version,
          .size = sizeof(SharedHostState),
          .make = [&rules](std::byte* at) { new (at) SharedHostState(rules); }};
}

}  // namespace

struct SharedHost::Listener {
  std::uint32_t seat = 0;
  std::mutex mutex{};  // held while f runs
  std::function<void()> f{};
};

SharedHost::SharedHost(std::shared_ptr<SharedHostFile> file, SharedHostState::Step told) noexcept
    : file_(std::move(file)),
      state_(std::launder(reinterpret_cast<SharedHostState*>(file_->data()))),
      step_(told) {}

SharedHost::~SharedHost() {
  ending_ = true;
  if (!thread_.joinable()) return;
  auto& bell = state_->seats()[bell_seat_].bell;
  bell.fetch_add(1);
  futex_wake(bell);
  thread_.join();
}

Result<std::shared_ptr<SharedHost>> SharedHost::open(const std::string& path,
                                                     const QuotaRules& rules,
                                                     SharedHostState::Step told) {
  auto file = SharedHostFile::open(path, layout(rules));
  if (!file) return fail(std::move(file.error()));
  std::shared_ptr<SharedHost> host(new SharedHost(*std::move(file), told));
  const SharedHostState::Lock lock(host->state());
  if (!lock) {
    return fail(
        ErrorCode::storage,
        fmt::format("{}: locked by a process that does not go on, or damaged: end what uses "
                    "it, delete it, start again",
                    path));
  }
  if (!host->state().valid()) {
    return fail(
        ErrorCode::configuration,
        fmt::format("{}: is damaged (its numbers): end what uses it, delete it, start again",
                    path));
  }
  return host;
}

Result<std::shared_ptr<SharedHost>> SharedHost::open_existing(const std::string& path) {
  auto file = SharedHostFile::open_existing(path, layout({}));
  if (!file) return fail(std::move(file.error()));
  return std::shared_ptr<SharedHost>(new SharedHost(*std::move(file), nullptr));
}

bool SharedHost::ours(std::uint32_t seat) const noexcept {
  return ours_[seat].load();
}

std::size_t SharedHost::alive() const noexcept {
  std::size_t count = 0;
  for (std::uint32_t seat = 0; seat < SharedHostState::max_seats; ++seat) {
    if (state_->seats()[seat].owner == 0) continue;
    if (ours(seat) || file_->seat_taken_elsewhere(seat)) ++count;
  }
  return count;
}

bool SharedHost::drop_dead() noexcept {
  bool any = false;
  for (std::uint32_t number = 0; number < SharedHostState::max_seats; ++number) {
    const auto& seat = state_->seats()[number];
    if (seat.owner == 0 || ours(number) || file_->seat_taken_elsewhere(number)) continue;
    any = true;
    state_->begin_order_change();
    state_->order().drop_owner(seat.owner);
    state_->end_order_change();
    state_->change(
        [&](SharedHostNumbers& numbers) {
          numbers.key.drop_in_flight(seat.in_flight);
          numbers.seat = {.seat = number, .any = true};
          return true;
        },
        step_);
  }
  return any;
}

/// With the lock held.
std::optional<SharedHost::Joined> SharedHost::take_free_seat() {
  for (std::uint32_t number = 0; number < SharedHostState::max_seats; ++number) {
    auto& seat = state_->seats()[number];
    if (seat.owner != 0 || ours(number) || !file_->take_seat(number)) continue;
    ours_[number] = true;
    std::uint32_t none = SharedHostState::max_seats;
    bell_seat_.compare_exchange_strong(none, number);
    seat.bell_seat = bell_seat_.load();
    seat.pid = ::getpid();
    const std::uint64_t owner = state_->change(
        [&](SharedHostNumbers& numbers) {
          numbers.seat = {.seat = number, .owner = ++numbers.owners, .any = true};
          return numbers.owners;
        },
        step_);
    return Joined{.seat = number, .owner = owner};
  }
  return std::nullopt;
}

/// With the lock held and the dead dropped.
std::string SharedHost::settle_quota(const QuotaRules& rules) {
  const QuotaKey wanted(rules);
  const std::string here = wanted.describe();
  SharedHostStatement& stated = state_->stated();
  if (!stated.several && stated.text == here) return {};
  const bool alone = alive() == 0;
  stated.several = !alone;
  if (alone) stated.text = here;
  state_->change(
      [&](SharedHostNumbers& numbers) {
        if (alone) {
          numbers.key = wanted;
        } else {
          numbers.key.tighten(rules);
        }
        return true;
      },
      step_);
  if (alone) return {};
  return fmt::format(" (stated here: {}; others state otherwise, the lower counts)", here);
}

Result<SharedHost::Joined> SharedHost::join(const QuotaRules& rules) {
  const SharedHostState::Lock lock(*state_);
  if (!lock) return fail(ErrorCode::storage, path() + ": is locked");
  drop_dead();
  std::string note = settle_quota(rules);
  auto joined = take_free_seat();
  if (!joined) {
    return fail(ErrorCode::storage,
                fmt::format("{}: {} limiters share it already, which is the most", path(),
                            SharedHostState::max_seats));
  }
  joined->note = std::move(note);
  return *std::move(joined);
}

/// What the limiter left unsettled goes as if its process had died.
void SharedHost::leave(const Joined& joined) noexcept {
  {
    const SharedHostState::Lock lock(*state_);
    if (!lock) return;
    file_->leave_seat(joined.seat);
    ours_[joined.seat] = false;
    drop_dead();
  }
  ring_all();
}

void SharedHost::ring_all() {
  for (std::uint32_t seat = 0; seat < SharedHostState::max_seats; ++seat) {
    if (state_->seats()[seat].taken) ring(seat);
  }
}

void SharedHost::ring(std::uint32_t seat) {
  if (ours(seat)) {
    call_listeners(seat);
    return;
  }
  const std::uint32_t number = state_->seats()[seat].bell_seat;
  if (number >= SharedHostState::max_seats) return;
  auto& bell = state_->seats()[number].bell;
  bell.fetch_add(1, std::memory_order_release);
  futex_wake(bell);
}

void SharedHost::call_listeners(std::optional<std::uint32_t> seat) {
  std::vector<std::shared_ptr<Listener>> called;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& listener : listeners_) {
      if (!seat || listener->seat == *seat) called.push_back(listener);
    }
  }
  for (const auto& listener : called) {
    const std::scoped_lock lock(listener->mutex);
    if (listener->f) listener->f();
  }
}

std::shared_ptr<void> SharedHost::listen(std::uint32_t seat, std::function<void()> f) {
  auto listener = std::make_shared<Listener>();
  listener->seat = seat;
  listener->f = std::move(f);
  const std::scoped_lock lock(mutex_);
  listeners_.push_back(listener);
  if (!thread_.joinable()) {
    // What is rung from now on is heard, even before the thread has started.
    const std::uint32_t seen = state_->seats()[bell_seat_].bell.load();
    thread_ = std::thread([this, seen] { run(seen); });
  }
  return {listener.get(), [self = shared_from_this(), listener](void*) {
            {
              const std::scoped_lock registered(self->mutex_);
              std::erase(self->listeners_, listener);
            }
            const std::scoped_lock idle(listener->mutex);
            listener->f = nullptr;
          }};
}

void SharedHost::watch() {
  if (checks_left_.exchange(checks_after_a_wait) > 0) return;
  auto& bell = state_->seats()[bell_seat_].bell;
  own_rings_.fetch_add(1);
  bell.fetch_add(1);
  futex_wake(bell);
}

void SharedHost::run(std::uint32_t seen) {
  auto& bell = state_->seats()[bell_seat_].bell;
  std::uint32_t heard = seen;
  while (!ending_) {
    const timespec time{.tv_sec = 0, .tv_nsec = death_check.count()};
    const bool checking = checks_left_ > 0;
    bool call = false;
    if (futex_wait(bell, seen, checking ? &time : nullptr)) {
      --checks_left_;
      const SharedHostState::Lock lock(*state_);
      if (lock) call = drop_dead() || lock.recovered();
    }
    seen = bell.load(std::memory_order_acquire);
    // Our own rings only made this thread look again. (One that is half counted here makes the next
    // round come at once, so none of the others' is lost.)
    const std::uint32_t others = seen - own_rings_.load();
    if (std::exchange(heard, others) != others) call = true;
    if (call && !ending_) call_listeners(std::nullopt);
  }
}

}  // namespace moderato
