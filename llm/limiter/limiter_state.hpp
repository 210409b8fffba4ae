#pragma once

// Private header of the library: not installed.

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/limiter/retry_budget.hpp>
#include <moderato/llm/limiter/wait_queue.hpp>

namespace moderato {

/// What the handles of one limiter share: the order of the waiting calls, and the backend that
/// knows whether there is room. Thread safe.
class LimiterState {
 public:
  struct Options {
    std::shared_ptr<LimiterBackend> backend{};
    std::size_t max_queue = 0;
    std::string name{};
    double requests_per_second = 0;  ///< For the retry budget; 0: unknown.
  };
  explicit LimiterState(Options options);

  using Self = std::shared_ptr<LimiterState>;
  using Announce = std::function<void(const QueuedNotice&)>;

  /// `self` owns this state; the permit will hold it.
  Result<Permit> acquire(const Self& self, const Ask& ask, const CallContext& context,
                         const Clock& clock, const Announce& queued);
  void settle(const Permit& permit, const Outcome& outcome);

  bool take_retry(Instant now);
  void count_first_attempt();
  [[nodiscard]] Limiter::Snapshot snapshot(Instant now) const;
  [[nodiscard]] std::string describe() const;

 private:
  using Entry = WaitQueue::Entry;
  class Place;

  Permit permit(const Self& self, const Granted& grant, const Ask& ask, const CallContext& context,
                const Clock& clock, Duration waited);
  Result<Permit> wait_in_queue(const Self& self, Instant arrived, const Ask& ask,
                               const CallContext& context, const Clock& clock,
                               const Announce& queued);
  Result<QueuedNotice> enter(Entry& entry, Instant now);
  void leave(Entry& entry) noexcept;
  bool is_front(const Entry& entry) const;
  void wake_waiters(Instant now, const std::optional<KeyChange>& change);
  tl::unexpected<Error> refuse(Error error);

  const Options options_;
  mutable std::mutex mutex_;  // queue_ and retries_
  WaitQueue queue_;
  RetryBudget retries_;
  std::atomic<std::size_t> waiting_{0};  // queue_.size(), for a look without the lock
  std::atomic<std::uint64_t> granted_{0};
  std::atomic<std::uint64_t> refused_{0};
};

}  // namespace moderato
