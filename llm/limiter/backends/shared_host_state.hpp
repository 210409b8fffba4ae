#pragma once

// Private header of the library: not installed.

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <moderato/llm/limiter/arbiter.hpp>
#include <moderato/llm/limiter/quota_key.hpp>
#include <moderato/llm/limiter/short_text.hpp>

namespace moderato {

/// A limiter that uses the file. Its lock (SharedHostFile's seat of the same number) tells whether
/// its process is alive.
struct SharedHostSeat {
  std::atomic<std::uint32_t> bell{0};  ///< A futex: counts the calls "there may be room for you".
  std::atomic<std::uint32_t> bell_seat{0};  ///< Whose bell to ring: a process listens to one.
  std::atomic<bool> taken{false};           ///< For a look without the lock.
  std::uint64_t owner = 0;     ///< Its number among all that ever were; 0: a free seat.
  std::int64_t in_flight = 0;  ///< Grants that are not settled.
  std::int32_t pid = 0;        ///< For people.
};

/// What one change does to a seat. Part of what the change commits, so that it can be done again if
/// the process dies before it has done it.
struct SharedHostSeatChange {
  std::uint32_t seat = 0;
  std::uint64_t owner = 0;  ///< 0: the seat becomes free.
  std::int64_t in_flight = 0;
  bool any = false;
};

/// The part that exists twice.
struct alignas(64) SharedHostNumbers {
  SharedHostSeatChange seat{};
  std::uint64_t owners = 0;  ///< Owners that there ever were.
  QuotaKey key;              ///< Last: its unused end is not copied.
};
static_assert(std::is_trivially_copyable_v<SharedHostNumbers>);

/// The quota, as a text, that the first owner stated. Half of it is as good as another.
struct SharedHostStatement {
  ShortText<200> text{};
  bool several = false;  ///< Others stated another.
};

/// What the file holds after its header: see shared_host_state.cpp.
class SharedHostState {
 public:
  static constexpr std::uint32_t version = 2;
  static constexpr std::size_t max_seats = 256;
  using Step = void (*)(const char*);

  /// On zeroed memory that nobody else sees yet.
  explicit SharedHostState(const QuotaRules& rules);
  SharedHostState(const SharedHostState&) = delete;
  SharedHostState& operator=(const SharedHostState&) = delete;

  /// The lock, held. Not held (and nothing may be done) if the file is damaged.
  class Lock {
   public:
    explicit Lock(SharedHostState& state) noexcept;
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock();
    [[nodiscard]] explicit operator bool() const noexcept { return held_; }
    /// Somebody died while he held it; what he had not committed is undone.
    [[nodiscard]] bool recovered() const noexcept { return recovered_; }

   private:
    SharedHostState& state_;
    bool held_ = false;
    bool recovered_ = false;
  };

  /// Changes the numbers as a whole or not at all: `f(SharedHostNumbers&)`, its result is returned.
  /// With the lock held. `step` (may be null) is told what has been done: for tests that kill.
  template <class F>
  auto change(F&& f, Step step = nullptr) {
    const std::uint64_t sequence = sequence_.load(std::memory_order_relaxed);
    SharedHostNumbers& next = copies_[(sequence + 1) & 1];
    copy(next, copies_[sequence & 1]);
    next.seat.any = false;
    if (step != nullptr) step("copied");
    auto result = f(next);
    if (step != nullptr) step("changed");
    sequence_.store(sequence + 1, std::memory_order_release);
    if (step != nullptr) step("committed");
    apply(next.seat);
    if (step != nullptr) step("applied");
    return result;
  }
  /// With the lock held.
  [[nodiscard]] const SharedHostNumbers& numbers() const noexcept {
    return copies_[sequence_.load(std::memory_order_relaxed) & 1];
  }
  /// The order. With the lock held; whoever changes it says so first and when it is done.
  [[nodiscard]] Arbiter& order() noexcept { return order_; }
  [[nodiscard]] const Arbiter& order() const noexcept { return order_; }
  void begin_order_change() noexcept { order_changing_.store(1, std::memory_order_release); }
  void end_order_change() noexcept { order_changing_.store(0, std::memory_order_release); }

  /// With the lock held.
  [[nodiscard]] SharedHostStatement& stated() noexcept { return stated_; }
  [[nodiscard]] std::array<SharedHostSeat, max_seats>& seats() noexcept { return seats_; }
  [[nodiscard]] const std::array<SharedHostSeat, max_seats>& seats() const noexcept {
    return seats_;
  }
  /// False for bytes that never were one. With the lock held.
  [[nodiscard]] bool valid() const noexcept;

 private:
  /// By cache lines: what the compiler makes of one memcpy of this size takes three times as long.
  static void copy(SharedHostNumbers& to, const SharedHostNumbers& from) noexcept {
    constexpr std::size_t line = alignof(SharedHostNumbers);
    const std::size_t size = offsetof(SharedHostNumbers, key) + from.key.bytes_used();
    auto* target = reinterpret_cast<std::byte*>(&to);
    const auto* source = reinterpret_cast<const std::byte*>(&from);
    for (std::size_t at = 0; at < size; at += line) std::memcpy(target + at, source + at, line);
  }
  void apply(const SharedHostSeatChange& change) noexcept;
  void recover() noexcept;

  pthread_mutex_t mutex_;
  std::atomic<std::uint64_t> sequence_{0};  // odd: the second copy counts
  std::atomic<std::uint32_t> order_changing_{0};
  std::array<SharedHostNumbers, 2> copies_;
  Arbiter order_;
  SharedHostStatement stated_;
  std::array<SharedHostSeat, max_seats> seats_{};
};

}  // namespace moderato
