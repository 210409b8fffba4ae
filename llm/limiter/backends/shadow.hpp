#pragma once

#include <cstdint>
#include <memory>

#include <moderato/llm/limiter/limiter.hpp>

namespace moderato {

/// What a quota would have done to the calls that a shadow let through.
struct ShadowReport {
  std::uint64_t calls = 0;
  std::uint64_t would_wait = 0;
  std::uint64_t would_refuse = 0;
  std::uint64_t would_deny_retry = 0;  ///< Retries beyond the quota's retry budget.
};

/// A quota that is evaluated and never enforced: to try numbers on live traffic.
///
///   const auto tried = std::make_shared<ShadowBackend>(QuotaOptions{.requests_per_minute = 60});
///   … .limiter = limiter_over(tried, {}, "tried")          tried->report().would_wait
///
/// A call that does not fit goes at once, is counted, and is not charged: the quota stays as it
/// would be had the call not been made. In this process only. Thread safe. The constructor throws
/// std::invalid_argument for a quota that makes no sense.
class ShadowBackend final : public LimiterBackend {
 public:
  explicit ShadowBackend(const QuotaOptions& options);
  ~ShadowBackend() override;
  ShadowBackend(const ShadowBackend&) = delete;
  ShadowBackend& operator=(const ShadowBackend&) = delete;

  [[nodiscard]] ShadowReport report() const;

  Admission try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                        const NextInLine* next) override;
  void withdraw(Instant, std::uint64_t) override {}
  std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome) override;
  /// Always true.
  [[nodiscard]] bool take_retry(Instant now) override;
  [[nodiscard]] WaitEstimate expected_wait(Instant, const Ask&, const QueuedAhead&) const override {
    return {};
  }
  [[nodiscard]] KeySnapshot snapshot(Instant now) const override;
  [[nodiscard]] std::string describe() const override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moderato
