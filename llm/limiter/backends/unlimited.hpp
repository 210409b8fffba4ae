#pragma once

// Private header of the library: not installed.

#include <atomic>
#include <string>

#include <moderato/llm/limiter/limiter_backend.hpp>

namespace moderato {

/// Grants everything at once, whatever the provider answers. Thread safe.
class UnlimitedBackend final : public LimiterBackend {
 public:
  Admission try_acquire(Instant now, const Ask& ask) override;
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
};

}  // namespace moderato
