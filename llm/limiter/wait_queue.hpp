#pragma once

// Private header of the library: not installed.

#include <cstddef>

#include <moderato/core/time.hpp>
#include <moderato/core/wait.hpp>
#include <moderato/llm/limiter/ask.hpp>

namespace moderato {

/// The order in which waiting calls go: order of arrival. Entries live on the stacks of the
/// waiters, nothing is allocated; every operation is O(1). Not thread safe.
class WaitQueue {
 public:
  struct Entry {
    const Ask& ask;
    Instant deadline = no_deadline;
    IdleTimes idle{};  ///< As estimated when it came; set before it is pushed.
    WaitPoint turn{"a permit of the limiter"};
    Entry* before = nullptr;
    Entry* after = nullptr;
  };

  void push(Entry& entry) noexcept;
  /// Takes out an entry that is in the queue, wherever it is.
  void remove(Entry& entry) noexcept;
  /// Who goes next; null: nobody waits.
  [[nodiscard]] Entry* front() const noexcept { return front_; }
  /// What a new entry would have before it.
  [[nodiscard]] const QueuedAhead& ahead() const noexcept { return sum_; }
  [[nodiscard]] std::size_t size() const noexcept { return sum_.calls; }

  /// f(entry) for every entry, in order.
  template <class F>
  void for_each(F&& f) {
    for (Entry* entry = front_; entry != nullptr; entry = entry->after) f(*entry);
  }

 private:
  Entry* front_ = nullptr;
  Entry* back_ = nullptr;
  QueuedAhead sum_;
};

}  // namespace moderato
