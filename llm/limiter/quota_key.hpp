#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <moderato/llm/limiter/in_flight.hpp>
#include <moderato/llm/limiter/key_state.hpp>
#include <moderato/llm/limiter/limiter_backend.hpp>
#include <moderato/llm/limiter/quota_dimension.hpp>

namespace moderato {

/// What is known of a key's quota at the start.
struct QuotaRules {
  std::vector<QuotaDimension::Rule> dimensions{};  ///< At most max_quota_dimensions.
  std::int64_t slots = 0;                          ///< Calls in flight; 0: no limit.
  std::int64_t max_slots = 0;  ///< Above 0: `slots` is where the adaptive number starts.
  double safety = 0.99;        ///< For limits that the provider's answers add.
  Bursts bursts{};             ///< For those too.
  Duration max_hold = std::chrono::seconds(120);
};

/// The whole arithmetic of one provider key: its limits, its slots, its state. What a backend
/// keeps, wherever it keeps it. Pure: time is a parameter (a step backwards counts as no step). Not
/// thread safe.
class QuotaKey {
 public:
  explicit QuotaKey(QuotaRules rules);

  /// All or nothing: see LimiterBackend::try_acquire.
  [[nodiscard]] Admission try_acquire(Instant now, const Ask& ask);
  /// Charges what really happened, learns what the provider said, moves the key's state.
  std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome);
  [[nodiscard]] WaitEstimate expected_wait(Instant now, const Ask& ask,
                                           const QueuedAhead& ahead) const;
  [[nodiscard]] KeySnapshot snapshot(Instant now) const;
  /// "60 requests/min, 90000 tokens/min, 8 in flight".
  [[nodiscard]] std::string describe() const;

 private:
  Instant forward(Instant now) noexcept { return latest_ = now > latest_ ? now : latest_; }
  void learn(Instant now, const Granted& grant, const Outcome& outcome, const Ask& since,
             const Ask& given_back);
  std::optional<Duration> correct(Instant now, const QuotaSignal& signal, const Ask& since);
  std::optional<KeyChange> move_state(Instant now, const Granted& grant, const Outcome& outcome,
                                      const Ask& since);
  QuotaDimension* find_or_add(Instant now, const QuotaHeader& header);
  QuotaDimension* find_or_add(Instant now, const QuotaState& state);
  QuotaDimension* add(Instant now, std::string name, QuotaUnit unit, std::int64_t limit,
                      Duration period);

  QuotaRules rules_;
  std::vector<QuotaDimension> dimensions_;
  InFlight in_flight_;
  KeyState state_;
  Instant latest_{};
  std::uint64_t newest_id_ = 0;
  Ask charged_{.requests = 0};  // sum of all charges and refunds so far
};

}  // namespace moderato
