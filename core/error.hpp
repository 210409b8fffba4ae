#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <moderato/core/time.hpp>

namespace moderato {

/// What went wrong, named by what the caller should do next.
enum class ErrorCode : std::uint8_t {
  invalid_request,    ///< The request itself is wrong (400, 422): change it, never resend it.
  configuration,      ///< An option, a URL or a file is wrong: fix the configuration.
  authentication,     ///< No key, a wrong key, or no right to use the model (401, 403).
  not_found,          ///< The model or the path does not exist (404).
  context_overflow,   ///< The prompt does not fit the model's context window: shorten it.
  too_large,          ///< Never fits the quota, or a body above its size limit: shrink it.
  rate_limited,       ///< The provider said 429 and means "later": wait `retry_after`.
  quota_exhausted,    ///< Billing or spend limit: no wait cures it; somebody has to pay.
  overloaded,         ///< The provider sheds load (503, 529): wait longer.
  server_error,       ///< The provider failed (500, 502, 504): a retry may help.
  connection,         ///< No connection, or it broke before an answer came.
  tls,                ///< The certificate or the handshake was refused: never retried.
  timeout,            ///< Connect, first byte, silence or total limit of the transport.
  protocol,           ///< The answer is not what the protocol says (bad JSON, broken stream).
  deadline_exceeded,  ///< It cannot be done before the caller's deadline; nothing was slept.
  queue_full,         ///< The limiter's bounded queue is full: shed load.
  budget_exhausted,   ///< The token budget has no room for the call; it was not sent.
  cancelled,          ///< The stop token was triggered.
  content_filtered,   ///< The provider refused to answer.
  replay_mismatch,    ///< A replay met an effect that differs from the recorded one.
  tool_failed,        ///< A tool threw, timed out or got bad arguments.
  human_unavailable,  ///< Human input was needed and there is none (closed input, interrupt).
  awaiting_human,     ///< A person is to answer later: go on when the answer is there.
  invalid_message,    ///< A message without content and without calls, or of a wrong shape.
  storage,            ///< A journal or a store failed.
  interrupted,        ///< It had been started when the process died, and may not be run twice.
  internal,           ///< A bug, or a user's callback that threw.
};

/// Short stable name in snake_case, e.g. "rate_limited".
[[nodiscard]] std::string_view to_string(ErrorCode code) noexcept;
/// Inverse of to_string; nullopt for an unknown name.
[[nodiscard]] std::optional<ErrorCode> error_code_from_string(std::string_view name) noexcept;

/// A failure as a value. Never contains a key: whoever fills `message` redacts secrets first.
struct Error {
  ErrorCode code = ErrorCode::internal;
  /// One sentence for a person: what is wrong, where, and what to do.
  std::string message{};
  /// When it makes sense to try again, counted from now; nullopt if no time is known.
  std::optional<Duration> retry_after{};
  /// HTTP status, 0 if there was none.
  int http_status = 0;
  /// The provider's own words for the error (`error.code`, else `error.type`), may be empty.
  std::string provider_code{};
  /// The provider's id of the request (`x-request-id`), may be empty.
  std::string request_id{};

  bool operator==(const Error&) const = default;
};

/// "rate_limited (HTTP 429, rate_limit_exceeded): Rate limit reached …; retry after 0.42 s".
[[nodiscard]] std::string to_string(const Error& error);

}  // namespace moderato
