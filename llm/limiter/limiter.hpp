#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <moderato/core/call_context.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/llm/limiter/ask.hpp>
#include <moderato/llm/limiter/limiter_backend.hpp>
#include <moderato/llm/limiter/quota_profile.hpp>

namespace moderato {

class LimiterCore;

/// What one limiter gave for a call. Library internals; programs hold a Permit.
struct PermitPart {
  std::shared_ptr<LimiterCore> owner{};
  Ask ask{};
  Granted grant{};
};

/// The right to make one attempt at a model call. Move only. Ends exactly once: settled with what
/// happened, or refunded by its destructor (as if nothing had been sent).
class Permit {
 public:
  Permit() = default;
  /// Library internals.
  Permit(PermitPart part, Duration waited, const Clock& clock, Observer observer);
  Permit(Permit&& other) noexcept = default;
  Permit& operator=(Permit&& other) noexcept;
  ~Permit();

  /// Says how the attempt ended. Nothing happens if the permit has ended before.
  void settle(const Outcome& outcome);
  /// This permit is also the right that `other` is; both end together.
  void join(Permit other);
  [[nodiscard]] const Ask& ask() const noexcept { return part_.ask; }
  [[nodiscard]] Duration waited() const noexcept { return waited_; }
  /// Of a pool's limiters, the one that gave it; 0 otherwise.
  [[nodiscard]] std::size_t choice() const noexcept { return choice_; }
  void set_choice(std::size_t choice) noexcept { choice_ = choice; }
  [[nodiscard]] explicit operator bool() const noexcept { return part_.owner != nullptr; }

 private:
  PermitPart part_{};
  std::vector<PermitPart> more_{};  // of the other limiters of a hierarchy
  Duration waited_{};
  std::size_t choice_ = 0;
  const Clock* clock_ = nullptr;
  Observer observer_{};  // told if this call changes the key's state
};

/// A call that has to wait is announced with the reason, the expected wait and its place.
struct QueuedNotice {
  /// "requests", "tokens", "in_flight", "paused", "overload", "probing", "queue"; a literal.
  const char* reason = "";
  Duration expected_wait{};  ///< Exact where rates and pauses decide, a guess for slots in flight.
  std::size_t position = 0;  ///< Calls ahead, as far as it can be seen now.
};

/// How many calls a limiter refused for one cause.
struct RefusalCount {
  ErrorCode cause = ErrorCode::internal;
  std::uint64_t count = 0;
};

/// Levels, state and queue of a limiter, for people.
struct LimiterSnapshot {
  KeySnapshot key{};
  std::size_t queued = 0;
  std::uint64_t granted = 0;
  std::uint64_t refused = 0;
  std::vector<RefusalCount> refusals{};  ///< By cause; their sum is `refused`.
  double retries_left = 0;
};

/// "Who goes next": the only place in the library that waits for a quota. A shareable handle: give
/// the same limiter to every Model that draws on the same provider quota. Thread safe.
///
/// Waiting calls go in the order of start-time fair queueing: tenants share the quota by weight
/// (interactive : normal : batch = 8 : 4 : 1 within each), a tenant's conversations share what it
/// gets, and conversations under way go before first calls of new ones. `a & b` is a hierarchy: a
/// call needs room in both, and holds neither while it waits for the other.
class Limiter {
 public:
  /// What an option struct holds when nobody said anything: the safe default, see `adaptive()`.
  Limiter();
  explicit Limiter(std::shared_ptr<LimiterCore> core) : core_(std::move(core)) {}

  /// Takes a permit, waiting in the queue if there is no room now. `queued` (may be empty) is
  /// called at most once, when the call has to wait. `clock` is the runtime's and outlives the
  /// permit. Errors, all without having taken anything, `retry_after` where a time is known:
  ///   too_large          can never fit the quota
  ///   deadline_exceeded  the wait for rates or a pause ends after context.deadline: decided at
  ///                      once, and again when a pause begins; or the deadline came (a wait for a
  ///                      slot)
  ///   queue_full         `max_queue` calls wait already, or `max_queue_time` of quota
  ///   quota_exhausted, rate_limited   the key is closed (billing, a hint beyond max_hold)
  ///   cancelled          the stop token, the task or the runtime
  [[nodiscard]] Result<Permit> acquire(const Ask& ask, const CallContext& context,
                                       const Clock& clock,
                                       const std::function<void(const QueuedNotice&)>& queued = {});

  /// Takes one retry from the retry budget of the key; false: the budget is used up.
  [[nodiscard]] bool take_retry(Instant now);
  /// How long this ask would wait if it came now.
  [[nodiscard]] Duration expected_wait(Instant now, const Ask& ask) const;

  using Snapshot = LimiterSnapshot;
  [[nodiscard]] LimiterSnapshot snapshot(Instant now) const;
  /// How calls are limited, in words.
  [[nodiscard]] std::string describe() const;
  /// For composition. Library internals.
  [[nodiscard]] const std::shared_ptr<LimiterCore>& core() const noexcept { return core_; }

 private:
  std::shared_ptr<LimiterCore> core_;
};

/// A call needs a permit of both: a tenant's quota under a key's quota under an organisation's.
[[nodiscard]] Limiter operator&(Limiter left, Limiter right);

/// A limiter for each tenant, made by `make(tenant)` when the tenant's first call comes. At most
/// `max_tenants` are kept: beyond that the one that was not used for longest is forgotten (its
/// calls under way end as they would have).
[[nodiscard]] Limiter per_tenant(std::function<Limiter(const std::string& tenant)> make,
                                 std::size_t max_tenants = 10'000);

/// A call goes to the limiter with the least expected wait, the first of equals; a retry begins
/// with another one than the attempt before. One that refuses is passed over. The permit's `choice`
/// says which gave it: see `pool` in llm/providers/pool.hpp, which sends the call to the deployment
/// that belongs to it. Throws std::invalid_argument without any.
[[nodiscard]] Limiter any_of(std::vector<Limiter> limiters);

/// A tenant's share of a quota, > 0; who is not named has 1.
struct TenantWeight {
  std::string tenant{};
  double weight = 1.0;
};

/// Bounds of a limiter's queue, and who counts how much in it.
struct QueueOptions {
  /// Calls that may wait; one more is refused with queue_full.
  std::size_t max_queue = 100'000;
  /// Calls of one tenant that may wait; 0: as many as all.
  std::size_t max_queue_per_tenant = 0;
  /// A call that would wait longer than this is refused with queue_full.
  Duration max_queue_time = std::chrono::hours(1);
  std::vector<TenantWeight> tenant_weights{};
};

/// One limit of a quota: `count` units in each `per`.
struct QuotaLimit {
  QuotaUnit unit = QuotaUnit::requests;
  std::int64_t count = 0;
  Duration per = std::chrono::minutes(1);
};

/// The quota of one provider key, as its documentation or its headers state it. 0: no limit in that
/// dimension; negative values throw std::invalid_argument; a quota without any limit does too: say
/// `unlimited()`. At most 8 limits together.
struct QuotaOptions {
  std::int64_t requests_per_minute = 0;
  std::int64_t tokens_per_minute = 0;  ///< Input and output together.
  std::int64_t max_in_flight = 0;
  std::int64_t input_tokens_per_minute = 0;
  std::int64_t output_tokens_per_minute = 0;
  std::int64_t requests_per_day = 0;  ///< In any 24 hours.
  std::int64_t tokens_per_day = 0;
  double money_per_minute = 0;  ///< In the unit of ModelOptions::price.
  double money_per_day = 0;
  /// Any further ones. With `per` of a few seconds a call leaves only when a window of that length
  /// has room wherever it begins.
  std::vector<QuotaLimit> limits{};
  /// How the provider counts; see `profiles`.
  QuotaProfile profile{};
  /// Burst, as time of quota that may be used at once from a full bucket; unset: the profile's
  /// (generic: 1 s and 3 s). Raise it to 50 s for a provider that is known to count by the minute.
  std::optional<Duration> request_burst{};
  std::optional<Duration> token_burst{};
  /// Share of the stated limits that is used: the price of clock-rate error and rounding.
  double safety = 0.99;
  QueueOptions queue{};
  /// A hint longer than this closes the key (calls are refused with retry_at) instead of pausing
  /// it.
  Duration max_hold = std::chrono::seconds(120);
  /// Names the key in events. Empty: "quota".
  std::string name{};
};

/// A stated quota, kept in this process.
[[nodiscard]] Limiter quota(QuotaOptions options);

/// The same quota, used by `count` limiters in this process that know nothing of each other's
/// queues, as processes of one host do with a shared file: for simulations of several workers.
[[nodiscard]] std::vector<Limiter> shared_quota(QuotaOptions options, std::size_t count);

struct AdaptiveOptions {
  std::int64_t initial_in_flight = 1;
  std::int64_t max_in_flight = 256;
  QuotaProfile profile{};
  QueueOptions queue{};
  Duration max_hold = std::chrono::seconds(120);
  std::string name{};
};

/// The safe default: limits are adopted from the provider's headers as soon as they appear. Until
/// then calls in flight start at `initial_in_flight` and double with each round of successes; if
/// the provider refuses without ever stating a limit, the rate is found as RateGovernor says.
[[nodiscard]] Limiter adaptive(AdaptiveOptions options = {});

/// No limit at all. Has to be written out.
[[nodiscard]] Limiter unlimited();

/// A limiter over any backend: fair queue, bounds, deadline refusal.
[[nodiscard]] Limiter limiter_over(std::shared_ptr<LimiterBackend> backend, QueueOptions queue,
                                   std::string name);

}  // namespace moderato
