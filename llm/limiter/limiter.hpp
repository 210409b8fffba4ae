#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <moderato/core/call_context.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/llm/limiter/ask.hpp>
#include <moderato/llm/limiter/limiter_backend.hpp>

namespace moderato {

class LimiterState;

/// The right to make one attempt at a model call. Move only. Ends exactly once: settled with what
/// happened, or refunded by its destructor (as if nothing had been sent).
class Permit {
 public:
  Permit() = default;
  Permit(Permit&& other) noexcept = default;
  Permit& operator=(Permit&& other) noexcept;
  ~Permit();

  /// Says how the attempt ended. Nothing happens if the permit has ended before.
  void settle(const Outcome& outcome);
  [[nodiscard]] const Ask& ask() const noexcept { return ask_; }
  [[nodiscard]] Duration waited() const noexcept { return waited_; }
  [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  friend class LimiterState;
  std::shared_ptr<LimiterState> state_;
  Ask ask_{};
  Granted grant_{};
  Duration waited_{};
  const Clock* clock_ = nullptr;
  Observer observer_{};  // told if this call changes the key's state
};

/// A call that has to wait is announced with the reason, the expected wait and its place.
struct QueuedNotice {
  const char* reason = "";   ///< "requests", "tokens", "in_flight", "paused", "queue"; a literal.
  Duration expected_wait{};  ///< Exact where rates and pauses decide, a guess for slots in flight.
  std::size_t position = 0;  ///< Calls ahead.
};

/// "Who goes next": the only place in the library that waits for a quota. A shareable handle: give
/// the same limiter to every Model that draws on the same provider quota. Thread safe.
class Limiter {
 public:
  /// What an option struct holds when nobody said anything: the safe default, see `adaptive()`.
  Limiter();
  explicit Limiter(std::shared_ptr<LimiterState> state) : state_(std::move(state)) {}

  /// Takes a permit, waiting in the queue if there is no room now. `queued` (may be empty) is
  /// called at most once, when the call has to wait. `clock` is the runtime's and outlives the
  /// permit. Errors, all without having taken anything, `retry_after` where a time is known:
  ///   too_large          can never fit the quota
  ///   deadline_exceeded  the wait for rates or a pause ends after context.deadline: decided at
  ///   once,
  ///                      and again when a pause begins; or the deadline came (a wait for a slot)
  ///   queue_full         `max_queue` calls wait already
  ///   quota_exhausted, rate_limited   the key is closed (billing, a hint beyond max_hold)
  ///   cancelled          the stop token, the task or the runtime
  [[nodiscard]] Result<Permit> acquire(const Ask& ask, const CallContext& context,
                                       const Clock& clock,
                                       const std::function<void(const QueuedNotice&)>& queued = {});

  /// Takes one retry from the retry budget of the key; false: the budget is used up.
  [[nodiscard]] bool take_retry(Instant now);
  /// Counts a first attempt: earns a tenth of a retry.
  void count_first_attempt(Instant now);

  /// Levels, state and queue, for people.
  struct Snapshot {
    KeySnapshot key{};
    std::size_t queued = 0;
    std::uint64_t granted = 0;
    std::uint64_t refused = 0;
    double retries_left = 0;
  };
  [[nodiscard]] Snapshot snapshot(Instant now) const;
  /// How calls are limited, in words.
  [[nodiscard]] std::string describe() const;

 private:
  std::shared_ptr<LimiterState> state_;
};

/// The quota of one provider key, as its documentation or its headers state it. 0: no limit in that
/// dimension; negative values throw std::invalid_argument; a quota without any limit does too: say
/// `unlimited()`.
struct QuotaOptions {
  std::int64_t requests_per_minute = 0;
  std::int64_t tokens_per_minute = 0;  ///< Input and output together.
  std::int64_t max_in_flight = 0;
  /// Burst, as time of quota that may be used at once from a full bucket. Raise it to 50 s for a
  /// provider that is known to count by the minute.
  Duration request_burst = std::chrono::seconds(1);
  Duration token_burst = std::chrono::seconds(3);
  /// Share of the stated limits that is used: the price of clock-rate error and rounding.
  double safety = 0.99;
  /// Calls that may wait; one more is refused with queue_full.
  std::size_t max_queue = 100'000;
  /// A hint longer than this closes the key (calls are refused with retry_at) instead of pausing
  /// it.
  Duration max_hold = std::chrono::seconds(120);
  /// Names the key in events. Empty: "quota".
  std::string name{};
};

/// A stated quota, kept in this process.
[[nodiscard]] Limiter quota(QuotaOptions options);

struct AdaptiveOptions {
  std::int64_t initial_in_flight = 4;
  std::int64_t max_in_flight = 64;
  std::size_t max_queue = 100'000;
  Duration max_hold = std::chrono::seconds(120);
  std::string name{};
};

/// The safe default: limits are adopted from the provider's headers as soon as they appear, and
/// calls in flight follow additive increase, multiplicative decrease (one more after a round of
/// successes, half after a refusal).
[[nodiscard]] Limiter adaptive(AdaptiveOptions options = {});

/// No limit at all. Has to be written out.
[[nodiscard]] Limiter unlimited();

/// A limiter over any backend: order of arrival, bounded queue, deadline refusal, retry budget.
[[nodiscard]] Limiter limiter_over(std::shared_ptr<LimiterBackend> backend, std::size_t max_queue,
                                   std::string name, double requests_per_second_for_retries);

}  // namespace moderato
