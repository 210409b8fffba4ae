#pragma once

// Private header of the library: not installed.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <moderato/llm/limiter/in_flight.hpp>
#include <moderato/llm/limiter/key_state.hpp>
#include <moderato/llm/limiter/limiter_backend.hpp>
#include <moderato/llm/limiter/quota_dimension.hpp>
#include <moderato/llm/limiter/quota_profile.hpp>
#include <moderato/llm/limiter/rate_governor.hpp>
#include <moderato/llm/limiter/retry_budget.hpp>

namespace moderato {

/// What is known of a key's quota at the start.
struct QuotaRules {
  std::vector<QuotaDimension::Rule> dimensions{};  ///< At most max_quota_dimensions.
  std::int64_t slots = 0;                          ///< Calls in flight; 0: no limit.
  std::int64_t max_slots = 0;  ///< Above 0: `slots` is where the adaptive number starts.
  double safety = 0.99;        ///< For limits that the provider's answers add.
  Bursts bursts{};             ///< For those too.
  Duration max_hold = std::chrono::seconds(120);
  QuotaProfile profile{};
};

/// The whole arithmetic of one provider key: its limits, its slots, its state, its retry budget.
/// What a backend keeps, wherever it keeps it: a value without pointers (trivially copyable), which
/// may live in shared memory or be copied byte by byte. Pure: time is a parameter (a step backwards
/// counts as no step). Not thread safe.
class QuotaKey {
 public:
  explicit QuotaKey(const QuotaRules& rules = {});

  /// What a call needs in the provider's own units (see ChargeBasis): the limits are charged with
  /// this.
  [[nodiscard]] Ask weigh(const Ask& ask) const noexcept;
  /// What an attempt that took `ask` (weighed) is charged in the end.
  [[nodiscard]] Ask charge_for(const Ask& ask, const Outcome& outcome) const noexcept;
  /// The longest time of quota that a call takes in any dimension: its size for fairness. At least
  /// 1 ns.
  [[nodiscard]] Duration dominant_share(const Ask& ask) const noexcept;

  /// All or nothing: see LimiterBackend::try_acquire. There must be room for the calls `before`,
  /// too, but nothing is taken for them. `retry`: the call earns nothing for the retry budget. If
  /// room comes within `horizon` it is taken now, and Granted::start says when the call may leave.
  [[nodiscard]] Admission try_acquire(Instant now, const Ask& ask, const QueuedAhead& before = {},
                                      bool retry = false, Duration horizon = {});
  /// Charges what really happened, learns what the provider said, moves the key's state.
  std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome);
  /// Somebody else states this quota for the same key: of each limit the lower counts.
  void tighten(const QuotaRules& rules) noexcept;
  /// Nothing may go at once: whatever waits is paced from the start.
  void drain(Instant now) noexcept {
    for (auto& dimension : dimensions()) dimension.drain(now);
  }
  /// For a backend that keeps the levels elsewhere and the state machine here.
  [[nodiscard]] KeyState& state() noexcept { return state_; }
  [[nodiscard]] const KeyState& state() const noexcept { return state_; }
  /// The provider gives back what a finished call did not use.
  [[nodiscard]] Settles settles() const noexcept { return settings_.settles; }
  [[nodiscard]] std::int64_t remaining_rounded_by() const noexcept {
    return settings_.remaining_rounded_by;
  }
  /// No slot is free.
  [[nodiscard]] bool slots_full() const noexcept { return in_flight_.full(); }
  [[nodiscard]] bool take_retry(Instant now) noexcept { return retries_.take(now); }
  /// Calls in flight of a process that has died: their slots come back, what they took stays taken.
  void drop_in_flight(std::int64_t calls) noexcept { in_flight_.drop(calls); }

  [[nodiscard]] WaitEstimate expected_wait(Instant now, const Ask& ask,
                                           const QueuedAhead& ahead) const;
  [[nodiscard]] KeySnapshot snapshot(Instant now) const;
  /// "60 requests/min, 90000 tokens/min, 8 in flight".
  [[nodiscard]] std::string describe() const;
  /// The bytes from the start that mean anything: whoever copies them has copied the key.
  [[nodiscard]] std::size_t bytes_used() const noexcept {
    return sizeof(*this) - (max_quota_dimensions - dimensions().size()) * sizeof(QuotaDimension);
  }
  /// False for bytes that never were a QuotaKey.
  [[nodiscard]] bool valid() const noexcept { return dimension_count_ <= max_quota_dimensions; }

 private:
  struct Settings {  // of QuotaRules, without what points elsewhere
    Bursts bursts{};
    double safety = 0.99;
    Duration max_hold{};
    bool adaptive = false;
    ChargeBasis basis{};
    Settles settles{};
    int requests_per_rejection = 0;
    int output_weight = 1;
    bool cached_input_is_free = false;
    BareRejection bare_rejection{};
    std::int64_t remaining_rounded_by = 0;
  };

  Instant forward(Instant now) noexcept { return latest_ = now > latest_ ? now : latest_; }
  [[nodiscard]] std::span<QuotaDimension> dimensions() noexcept {
    return {dimensions_.data(), std::min(dimension_count_, max_quota_dimensions)};
  }
  [[nodiscard]] std::span<const QuotaDimension> dimensions() const noexcept {
    return {dimensions_.data(), std::min(dimension_count_, max_quota_dimensions)};
  }
  [[nodiscard]] bool knows_rates() const noexcept { return dimension_count_ > 0; }

  // quota_learning.cpp: what responses say.
  void learn(Instant now, const Granted& grant, const Outcome& outcome, const Ask& since,
             const Ask& given_back);
  std::optional<Duration> correct(Instant now, const QuotaSignal& signal, const Ask& since);
  std::optional<KeyChange> move_state(Instant now, const Granted& grant, const Outcome& outcome,
                                      const Ask& since);
  std::optional<KeyChange> rejected(Instant now, const Granted& grant, const Outcome& outcome);
  QuotaDimension* find_or_add(Instant now, const QuotaHeader& header);
  QuotaDimension* find_or_add(Instant now, const QuotaState& state);
  QuotaDimension* add(Instant now, std::string_view name, QuotaUnit unit, std::int64_t limit,
                      Duration period);

  Settings settings_{};
  std::size_t dimension_count_ = 0;
  InFlight in_flight_;
  KeyState state_;
  RateGovernor governor_;
  RetryBudget retries_;
  Instant latest_{};
  std::uint64_t newest_id_ = 0;
  std::uint64_t rejections_ = 0;
  double unused_ = 0;           // tokens that a successful call gives back, on average
  Ask charged_{.requests = 0};  // sum of all charges and refunds so far
  std::array<QuotaDimension, max_quota_dimensions> dimensions_{};  // last: see bytes_used()
};
static_assert(std::is_trivially_copyable_v<QuotaKey>);

}  // namespace moderato
