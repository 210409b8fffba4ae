#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include <moderato/core/call_context.hpp>
#include <moderato/core/error.hpp>
#include <moderato/core/time.hpp>
#include <moderato/llm/provider.hpp>

namespace moderato {

/// What one attempt needs from the quota: one slot in flight, requests, and tokens. All of it is
/// granted together or not at all.
struct Ask {
  std::int64_t requests = 1;
  std::int64_t input_tokens = 0;   ///< Estimated prompt.
  std::int64_t output_tokens = 0;  ///< Output cap, or the expected output where that is charged.
  [[nodiscard]] std::int64_t tokens() const noexcept { return input_tokens + output_tokens; }
};

/// How an attempt ended, as the limiter needs to know it.
struct Outcome {
  enum class Kind : std::uint8_t {
    succeeded,  ///< Charge `used`.
    rejected,   ///< 429: the provider refused before doing work; tokens go back.
    failed,     ///< 5xx or a broken answer: tokens go back, the request stays charged.
    not_sent,   ///< Nothing left this machine: everything goes back.
    unknown,    ///< Cancelled or timed out after sending: everything stays charged.
  };
  Kind kind = Kind::unknown;
  std::int64_t input_tokens = 0;   ///< Really used, for succeeded.
  std::int64_t output_tokens = 0;
  ErrorCode error = ErrorCode::internal;  ///< For rejected and failed.
  int http_status = 0;
  std::string why{};               ///< The provider's words, for events.
  QuotaSignal signal{};            ///< What the response said about the quota.
};

/// A backend's answers to an Ask.
struct Granted {
  std::uint64_t id = 0;     ///< Names the grant when it is settled.
  std::uint64_t epoch = 0;  ///< The key's epoch; a late answer of an older epoch changes no state.
};
struct MustWait {
  Instant until{};          ///< When room can be there; Instant::max() if only a settle can make it.
  const char* reason = "";  ///< The dimension without room: "requests", "tokens", "in_flight", "paused".
};
struct Refused {
  Error error{};            ///< too_large (for ever), or quota_exhausted / overloaded with retry_after.
};
using Admission = std::variant<Granted, MustWait, Refused>;

}  // namespace moderato
