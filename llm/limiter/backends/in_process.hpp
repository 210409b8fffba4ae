#pragma once

// Private header of the library: not installed.

#include <map>
#include <mutex>
#include <string>

#include <moderato/llm/limiter/arbiter.hpp>
#include <moderato/llm/limiter/limiter_backend.hpp>
#include <moderato/llm/limiter/quota_key.hpp>

namespace moderato {

/// A quota key in this process's memory. Thread safe.
///
/// Several limiters may use one key, each through a `member` of its own: that is what
/// the processes of a host do with a shared file, and serves to simulate them.
class InProcessBackend final : public LimiterBackend,
                               public std::enable_shared_from_this<InProcessBackend> {
 public:
  explicit InProcessBackend(const QuotaRules& rules);

  Admission try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                        const NextInLine* next) override;
  void withdraw(Instant now, std::uint64_t ticket_id) override;
  std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome) override;
  [[nodiscard]] bool take_retry(Instant now) override;
  [[nodiscard]] WaitEstimate expected_wait(Instant now, const Ask& ask,
                                           const QueuedAhead& ahead) const override;
  [[nodiscard]] KeySnapshot snapshot(Instant now) const override;
  [[nodiscard]] std::string describe() const override;

  /// The key as one more limiter of several sees it.
  [[nodiscard]] std::shared_ptr<LimiterBackend> member();

 private:
  class Member;

  Admission try_acquire_for(std::uint64_t owner, Instant now, const Ask& ask, const Ticket& ticket,
                            const NextInLine* next);
  void tell_room(std::uint64_t except);

  mutable std::mutex mutex_;
  QuotaKey key_;
  Arbiter order_;
  std::uint64_t members_ = 0;
  std::mutex listeners_mutex_;
  std::map<std::uint64_t, std::function<void()>> listeners_;
};

}  // namespace moderato
