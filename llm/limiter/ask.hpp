#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include <moderato/core/call_context.hpp>
#include <moderato/core/error.hpp>
#include <moderato/core/time.hpp>
#include <moderato/llm/provider.hpp>

namespace moderato {

/// What a limit counts. micros: millionths of money.
enum class QuotaUnit : std::uint8_t { requests, tokens, input_tokens, output_tokens, micros };

/// What one attempt needs from the quota: one slot in flight, requests, and tokens. All of it is
/// granted together or not at all.
struct Ask {
  std::int64_t requests = 1;
  std::int64_t input_tokens = 0;   ///< Estimated prompt.
  std::int64_t output_tokens = 0;  ///< Output cap, or the expected output where that is charged.
  std::int64_t micros = 0;         ///< Money, in millionths of its unit; 0 where no price is known.
  int attempt = 1;                 ///< Above 1: a retry, which goes to the head of its flow.
  [[nodiscard]] std::int64_t tokens() const noexcept { return input_tokens + output_tokens; }
  Ask& operator+=(const Ask& other) noexcept {
    requests += other.requests;
    input_tokens += other.input_tokens;
    output_tokens += other.output_tokens;
    micros += other.micros;
    return *this;
  }
  Ask& operator-=(const Ask& other) noexcept {
    requests -= other.requests;
    input_tokens -= other.input_tokens;
    output_tokens -= other.output_tokens;
    micros -= other.micros;
    return *this;
  }
};

/// How an attempt ended, as the limiter needs to know it.
struct Outcome {
  enum class Kind : std::uint8_t {
    succeeded,  ///< Charge what was used (both 0: not known, everything stays charged).
    rejected,   ///< 429: the provider refused before doing work; tokens go back.
    failed,     ///< 5xx or a broken answer: the request and the tokens known to be used stay.
    not_sent,   ///< Nothing left this machine: everything goes back.
    unknown,    ///< Cancelled or timed out after sending: everything stays charged.
  };
  Kind kind = Kind::unknown;
  std::int64_t input_tokens = 0;  ///< Really used, for succeeded and failed.
  std::int64_t output_tokens = 0;
  std::int64_t cached_input_tokens = 0;   ///< Of input_tokens, those served from a cache.
  std::int64_t micros = 0;                ///< Money really spent; 0: as reserved.
  ErrorCode error = ErrorCode::internal;  ///< For rejected and failed.
  int http_status = 0;
  std::string why{};     ///< The provider's words, for events.
  QuotaSignal signal{};  ///< What the response said about the quota.
};

/// Who asks, as a backend must know it to be fair between the processes that share a key.
struct Ticket {
  /// Names the waiting call among those of its limiter. 0: the call does not wait, so a backend
  /// that has no room for it remembers nothing.
  std::uint64_t id = 0;
  std::uint64_t flow = 0;  ///< Whose turn it is: a number for the tenant, the same everywhere.
  /// The flow's share against others; with the class of the call already in it. > 0.
  double weight = 1.0;
  /// Calls of this flow that wait in this limiter, this one included: when several processes hold
  /// calls of one flow, its share is split between them by this number. ≥ 1.
  std::uint32_t callers = 1;
  std::uint32_t queued = 1;  ///< Calls of all flows that wait in this limiter, this one included.
  bool retry = false;        ///< A first attempt earns a tenth of a retry for the key.
};

/// The call that will stand at the head of the flow when the one that asks has gone.
struct NextInLine {
  Ask ask{};
  Ticket ticket{};
};

/// Where a waiting call stands in the order of all limiters that share the key.
struct Place {
  /// When to ask; Instant{}: not said.
  Instant until{};
  /// How far its start lies ahead of the earliest who waits, on the virtual time of the order:
  /// nanoseconds of quota, divided by weight (see Arbiter).
  std::int64_t lead = 0;
  bool held = false;  ///< As in MustWait.
};

/// A backend's answers to an Ask.
struct Granted {
  std::uint64_t id = 0;     ///< Names the grant when it is settled; later grants have larger ids.
  std::uint64_t epoch = 0;  ///< The key's epoch; a late answer of an older epoch changes no state.
  Instant at{};             ///< When it is charged, on the caller's clock: when the call may leave.
  Ask charged{};            ///< What the key had charged in all, this grant included.
  /// The call may leave at this instant, which lies at most a second or so ahead: a backend that is
  /// asked a little early commits instead of being asked again. Not in the future: at once.
  Instant start{};
  /// The place of the NextInLine that came with the ask; nothing said if none came.
  Place next{};
  /// The limiter's part of the flow's waiting calls, in (0, 1].
  double share = 1.0;
};
struct MustWait {
  Instant until{};  ///< When room can be there; Instant::max(): only a settle can make it.
  /// What there is no room in: "requests", "tokens", "in_flight", or the state that holds the key.
  const char* reason = "";
  std::int64_t lead = 0;  ///< As in Place; of a key that is not shared 0.
  bool held = false;      ///< By the key's state, which may end earlier than it says.
};
struct Refused {
  /// too_large (for ever), or the key is closed: quota_exhausted (billing) or rate_limited (a hint
  /// beyond max_hold), with retry_after.
  Error error{};
};
using Admission = std::variant<Granted, MustWait, Refused>;

/// Limits that one key may have.
inline constexpr std::size_t max_quota_dimensions = 8;

/// For each limit of a key, the time for which it stands full, and so unused, while calls wait for
/// another limit.
using IdleTimes = std::array<Duration, max_quota_dimensions>;

/// The calls that will go before one.
struct QueuedAhead {
  std::size_t calls = 0;
  Ask cost{.requests = 0};
  IdleTimes idle{};  ///< Sum of what was estimated for each of them.
};
/// How long a call will wait.
struct WaitEstimate {
  Duration at_least{};  ///< By pauses and rates: certain, unless something is given back.
  Duration expected{};  ///< With a guess when slots in flight come free; ≥ at_least.
  const char* reason = "";
  IdleTimes idle{};  ///< What this call adds when it goes after `at_least`.
  /// What the call itself takes: the longest time of quota over all limits. Its size for fairness.
  Duration size{};
};

}  // namespace moderato
