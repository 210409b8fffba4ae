#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <moderato/core/wait.hpp>

namespace moderato {

class Fiber;

/// A parked fiber or thread; lives on the stack of whoever waits.
struct WaitPoint::Waiter {
  Fiber* fiber = nullptr;  // or
  ThreadParking* thread = nullptr;
  WaitPoint* point = nullptr;
  Instant deadline = no_deadline;
  std::uint64_t order = 0;         // ties between equal deadlines: first come, first served
  std::size_t place = not_queued;  // in TimerQueue

  static constexpr std::size_t not_queued = static_cast<std::size_t>(-1);
};

/// The sleepers of one loop: a binary heap by (deadline, order of arrival) in which every waiter
/// knows its place, so that leaving early costs O(log n) and nothing is allocated per sleep.
class TimerQueue {
 public:
  using Waiter = WaitPoint::Waiter;

  void add(Waiter& waiter);
  void remove(Waiter& waiter);  ///< No effect if it is not queued.
  [[nodiscard]] Instant earliest() const noexcept {
    return heap_.empty() ? no_deadline : heap_.front()->deadline;
  }
  /// Takes out the earliest sleeper if its time has come, else null.
  Waiter* pop_due(Instant now);
  [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }

 private:
  static bool before(const Waiter& a, const Waiter& b) noexcept {
    return a.deadline != b.deadline ? a.deadline < b.deadline : a.order < b.order;
  }
  void put(std::size_t place, Waiter* waiter) noexcept;
  void sift_up(std::size_t place) noexcept;
  void sift_down(std::size_t place) noexcept;

  std::vector<Waiter*> heap_;
  std::uint64_t next_order_ = 0;
};

}  // namespace moderato
