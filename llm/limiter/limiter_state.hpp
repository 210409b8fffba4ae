#pragma once

// Private header of the library: not installed.

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <moderato/llm/limiter/fair_queue.hpp>
#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/limiter/limiter_core.hpp>

namespace moderato {

/// What the handles of one limiter share: the order of the waiting calls, and the backend that
/// knows whether there is room. Thread safe.
class LimiterState final : public LimiterCore {
 public:
  struct Options {
    std::shared_ptr<LimiterBackend> backend{};
    QueueOptions queue{};
    std::string name{};
  };
  explicit LimiterState(Options options);

  Result<Permit> acquire(const Ask& ask, const CallContext& context, const Clock& clock,
                         const Announce& queued) override;
  void settle(const PermitPart& part, const Clock& clock, const Observer& observer,
              const Outcome& outcome) override;
  bool take_retry(Instant now) override { return options_.backend->take_retry(now); }
  [[nodiscard]] LimiterSnapshot snapshot(Instant now) const override;
  [[nodiscard]] std::string describe() const override;
  [[nodiscard]] Duration expected_wait(Instant now, const Ask& ask) const override;

 private:
  using Entry = FairQueue::Entry;
  class Place;
  enum class Turn : std::uint8_t { ask, later };

  Result<Permit> admitted(const Granted& grant, const Ask& ask, const CallContext& context,
                          const Clock& clock, Duration waited);
  Result<Permit> wait_in_queue(Entry& entry, const CallContext& context, const Clock& clock,
                               const Announce& queued);
  Result<QueuedNotice> enter(Entry& entry, const CallContext& context);
  void leave(Entry& entry, Instant now) noexcept;
  Turn turn_of(Entry& entry, Instant now);
  Admission ask_for(Entry& entry, Instant now);
  Ticket ticket_of(const Entry& entry) const;
  void note_grant(Entry& entry, const Granted& grant);
  void stand(Entry& entry, std::int64_t lead, Instant now);
  void wake_next(Instant now) noexcept;
  void wake_waiters(Instant now, const std::optional<KeyChange>& change, std::int64_t returned);
  void room_elsewhere();
  static void wake_front(Entry& front, bool ask_again);
  tl::unexpected<Error> refuse(Error error);

  const Options options_;
  const bool shared_;
  mutable std::mutex mutex_;  // queue_, tickets_, refusals_
  FairQueue queue_;
  std::uint64_t tickets_ = 0;
  std::map<ErrorCode, std::uint64_t> refusals_;
  std::atomic<std::size_t> waiting_{0};  // queue_.size(), for a look without the lock
  std::atomic<std::uint64_t> granted_{0};
  std::shared_ptr<void> on_room_;  // last: its end stops the calls of room_elsewhere
};

}  // namespace moderato
