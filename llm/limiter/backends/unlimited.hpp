#pragma once

// Private header of the library: not installed.

#include <atomic>
#include <mutex>
#include <string>

#include <moderato/llm/limiter/limiter_backend.hpp>
#include <moderato/llm/limiter/retry_budget.hpp>

namespace moderato {

/// Grants everything at once, whatever the provider answers. Thread safe.
class UnlimitedBackend final : public LimiterBackend {
 public:
  Admission try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                        const NextInLine* next) override;
  void withdraw(Instant, std::uint64_t) override {}
  [[nodiscard]] bool take_retry(Instant now) override {
    const std::scoped_lock lock(mutex_);
    return retries_.take(now);
  }
  std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome) override;
  [[nodiscard]] WaitEstimate expected_wait(Instant, const Ask&, const QueuedAhead&) const override {
    return {};
  }
  [[nodiscard]] KeySnapshot snapshot(Instant now) const override;
  [[nodiscard]] std::string describe() const override { return "unlimited"; }

 private:
  std::atomic<std::uint64_t> granted_{0};
  std::atomic<std::int64_t> in_flight_{0};
  std::mutex mutex_;
  RetryBudget retries_;
};

}  // namespace moderato
