#include <moderato/core/poller.hpp>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <ctime>
#include <limits>
#include <system_error>

namespace moderato {
namespace {

constexpr int max_events = 256;
/// Batches of events that one poll() takes at most, so that fibers get their turn.
constexpr int max_batches = 8;
constexpr std::uint32_t no_listener = std::numeric_limits<std::uint32_t>::max();

int checked(int fd, const char* what) {
  if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
  return fd;
}

std::uint64_t key_of(std::uint32_t listener, int fd) noexcept {
  return (static_cast<std::uint64_t>(listener) << 32U) | static_cast<std::uint32_t>(fd);
}

/// epoll_wait counts in milliseconds, which is coarse for a quota; Linux 5.11 has a finer one.
int wait_for_events(int epoll, epoll_event* events, Duration timeout) {
  using std::chrono::milliseconds;
  static std::atomic<bool> has_fine_wait{true};
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 35)
  if (has_fine_wait.load(std::memory_order_relaxed)) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(timeout);
    const timespec time{.tv_sec = seconds.count(), .tv_nsec = (timeout - seconds).count()};
    const int count = epoll_pwait2(epoll, events, max_events, &time, nullptr);
    if (count >= 0 || errno != ENOSYS) return count;
    has_fine_wait.store(false, std::memory_order_relaxed);
  }
#endif
#endif
  constexpr milliseconds longest{std::numeric_limits<int>::max()};
  const auto rounded = std::min(std::chrono::ceil<milliseconds>(timeout), longest);
  return epoll_wait(epoll, events, max_events, static_cast<int>(rounded.count()));
}

}  // namespace

Poller::Listener::Listener(Poller& poller)
    : poller_(poller), number_(static_cast<std::uint32_t>(poller.listeners_.size())) {
  poller_.listeners_.push_back(this);
}

Poller::Listener::~Listener() {
  poller_.listeners_[number_] = nullptr;
}

void Poller::Listener::watch(int fd, std::uint32_t before, std::uint32_t events) noexcept {
  if (events == before) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = key_of(number_, fd);
  int operation = EPOLL_CTL_MOD;
  if (before == 0) operation = EPOLL_CTL_ADD;
  if (events == 0) operation = EPOLL_CTL_DEL;
  epoll_ctl(poller_.epoll_, operation, fd, &event);
}

void Poller::Listener::ask_for_turn_at(Instant at) noexcept {
  due_ = std::min(due_, at);
  poller_.due_ = std::min(poller_.due_, at);
}

Poller::Poller()
    : epoll_(checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;  // Each write is an event: nobody has to read it.
  event.data.u64 = key_of(no_listener, wake_);
  if (wake_ < 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) != 0) {
    const int error = errno;
    if (wake_ >= 0) close(wake_);
    close(epoll_);
    throw std::system_error(error, std::generic_category(), "eventfd");
  }
}

Poller::~Poller() {
  close(wake_);
  close(epoll_);
}

bool Poller::dispatch(const epoll_event* events, int count) {
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[i];
    const auto number = static_cast<std::uint32_t>(event.data.u64 >> 32U);
    if (number >= listeners_.size() || listeners_[number] == nullptr) continue;
    listeners_[number]->on_socket(static_cast<int>(event.data.u64 & 0xFFFFFFFFU), event.events);
  }
  return count > 0;
}

bool Poller::wait(Instant until, const Clock& clock) {
  std::array<epoll_event, max_events> events;
  int count = 0;
  if (until == no_deadline) {
    count = epoll_wait(epoll_, events.data(), max_events, -1);
  } else {
    const Duration left = std::max(until - clock.now(), Duration::zero());
    count = wait_for_events(epoll_, events.data(), left);
  }
  return dispatch(events.data(), count);
}

bool Poller::poll() {
  std::array<epoll_event, max_events> events;
  bool any = false;
  for (int batch = 0; batch < max_batches; ++batch) {
    const int count = epoll_wait(epoll_, events.data(), max_events, 0);
    any |= dispatch(events.data(), count);
    if (count < max_events) break;
  }
  return any;
}

bool Poller::take_turns(const Clock& clock) {
  if (!turn_wanted_ && (due_ == no_deadline || due_ > clock.now())) return false;
  turn_wanted_ = false;
  const Instant now = due_ == no_deadline ? Instant{} : clock.now();
  bool any = false;
  for (std::size_t number = 0; number < listeners_.size(); ++number) {
    Listener* listener = listeners_[number];
    if (listener == nullptr || !(listener->turn_wanted_ || listener->due_ <= now)) continue;
    listener->turn_wanted_ = false;
    if (listener->due_ <= now) listener->due_ = no_deadline;
    listener->on_turn();
    any = true;
  }
  due_ = no_deadline;
  for (const Listener* listener : listeners_) {
    if (listener != nullptr) due_ = std::min(due_, listener->due_);
  }
  return any;
}

void Poller::wake() const noexcept {
  const std::uint64_t one = 1;
  // It only fails when 2^64 wakes were not looked at.
  [[maybe_unused]] const auto written = write(wake_, &one, sizeof one);
}

int Poller::duplicate() const {
  return checked(dup(epoll_), "dup");
}

}  // namespace moderato
