#pragma once

#include <cstdint>
#include <mutex>

#include <moderato/core/time.hpp>
#include <moderato/core/usage.hpp>

namespace moderato {

/// What a conversation used so far. Charged inside the one door, so no call is left out, whoever
/// made it and for whatever purpose. Thread safe.
class CallTotals {
 public:
  struct Snapshot {
    std::int64_t calls = 0;     ///< Model calls that were answered.
    std::int64_t attempts = 0;  ///< Requests sent, retries included.
    Usage usage{};
    double cost = 0.0;
    Duration queue_wait{};  ///< Sum over all attempts.

    Snapshot& operator+=(const Snapshot& more) noexcept {
      calls += more.calls;
      attempts += more.attempts;
      usage += more.usage;
      cost += more.cost;
      queue_wait += more.queue_wait;
      return *this;
    }
  };

  CallTotals() = default;
  /// What is added here counts for `whole`, too (borrowed; null: nothing).
  explicit CallTotals(CallTotals* whole) : whole_(whole) {}

  void add(const Snapshot& more) {
    if (whole_ != nullptr) whole_->add(more);
    const std::scoped_lock lock(mutex_);
    sum_ += more;
  }
  [[nodiscard]] Snapshot snapshot() const {
    const std::scoped_lock lock(mutex_);
    return sum_;
  }

 private:
  CallTotals* const whole_ = nullptr;
  mutable std::mutex mutex_;
  Snapshot sum_;
};

}  // namespace moderato
