#pragma once

// Private header of the library: not installed.

#include <mutex>
#include <string>

#include <moderato/llm/limiter/limiter_backend.hpp>
#include <moderato/llm/limiter/quota_key.hpp>

namespace moderato {

/// A key's numbers in this process' memory: for a key that no other process uses. One short lock
/// for each operation. Thread safe.
class InProcessBackend final : public LimiterBackend {
 public:
  explicit InProcessBackend(QuotaRules rules) : key_(std::move(rules)) {}

  Admission try_acquire(Instant now, const Ask& ask) override;
  std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome) override;
  [[nodiscard]] WaitEstimate expected_wait(Instant now, const Ask& ask,
                                           const QueuedAhead& ahead) const override;
  [[nodiscard]] KeySnapshot snapshot(Instant now) const override;
  [[nodiscard]] std::string describe() const override;

 private:
  mutable std::mutex mutex_;
  QuotaKey key_;
};

}  // namespace moderato
