#include <cerrno>
#include <ctime>
#include <moderato/llm/limiter/backends/shared_host_state.hpp>

// State that survives whoever is killed
//
// The processes of a host share a key's numbers in a mapped file, under one lock. A process may be
// killed at any instruction. The naive mutex is then locked for ever; a robust one (the kernel
// unlocks it and tells the next who takes it) leaves numbers that are half changed: charged for
// tokens and not yet for the request, say. And a process that died after its change holds slots
// that nobody gives back.
//
// So the numbers exist twice, and `sequence_` says which copy counts. A change copies that one over
// the other, works on the other, and then makes it count by one store of one word. Whoever dies
// before that store has done nothing; whoever dies after it has done all of it. There is no third
// case, and whoever finds the lock abandoned has nothing to repair in the numbers.
//
// Each seat's count of calls in flight lies outside the copies, because copying 256 of them with
// each change would cost more than the change. The change says in its copy what becomes of the
// seat ("seat 7 holds 3"), and whoever finds the lock abandoned writes that again: it is the same
// number, whether it had been written or not.
//
// The order of the waiting is kept once. It holds no numbers that must not be lost: if somebody
// died while he changed it, it is emptied, and the waiting take new places when they come again.
//
// The mutex's own word, the sequence and the bells are the only things that two processes touch at
// once.

namespace moderato {
namespace {

/// Longer than any change takes, even on a host that swaps.
timespec soon() noexcept {
  timespec at{};
  ::clock_gettime(CLOCK_MONOTONIC, &at);
  at.tv_sec += 5;
  return at;
}

}  // namespace

SharedHostState::SharedHostState(const QuotaRules& rules) : mutex_{} {
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  ::pthread_mutex_init(&mutex_, &attributes);
  ::pthread_mutexattr_destroy(&attributes);
  for (auto& copy : copies_) copy.key = QuotaKey(rules);
  stated_.text = numbers().key.describe();
}

SharedHostState::Lock::Lock(SharedHostState& state) noexcept : state_(state) {
  int result = ::pthread_mutex_trylock(&state_.mutex_);
  if (result == EBUSY) {
    const timespec until = soon();
    result = ::pthread_mutex_clocklock(&state_.mutex_, CLOCK_MONOTONIC, &until);
  }
  if (result == EOWNERDEAD) {
    state_.recover();
    ::pthread_mutex_consistent(&state_.mutex_);
    recovered_ = true;
    result = 0;
  }
  held_ = result == 0;
}

SharedHostState::Lock::~Lock() {
  if (held_) ::pthread_mutex_unlock(&state_.mutex_);
}

void SharedHostState::apply(const SharedHostSeatChange& change) noexcept {
  if (!change.any || change.seat >= max_seats) return;
  SharedHostSeat& seat = seats_[change.seat];
  seat.owner = change.owner;
  const bool taken = change.owner != 0;
  if (seat.taken != taken) seat.taken = taken;
  seat.in_flight = change.in_flight;
}

void SharedHostState::recover() noexcept {
  apply(numbers().seat);
  if (order_changing_.load(std::memory_order_acquire) == 0) return;
  order_ = Arbiter();
  end_order_change();
}

bool SharedHostState::valid() const noexcept {
  const auto& now = numbers();
  return now.key.valid() && order_.valid() && now.seat.seat < max_seats;
}

}  // namespace moderato
