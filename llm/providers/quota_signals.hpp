#pragma once

// Private header of the library: not installed.

#include <optional>
#include <string_view>

#include <moderato/core/time.hpp>
#include <moderato/llm/http/http_client.hpp>
#include <moderato/llm/provider.hpp>

namespace moderato {

/// A duration as providers write it: "6m0s", "2m59.56s", "88ms", "1h2m3s" (units h, m, s, ms, us,
/// µs, ns, each number may have a fraction), or a bare number of seconds. Rounded up to whole
/// milliseconds. nullopt: anything else, a sign, an exponent, more than ten years.
[[nodiscard]] std::optional<Duration> parse_quota_duration(std::string_view text);

/// An HTTP date (RFC 9110, IMF-fixdate) or an RFC 3339 time with seconds and Z or an offset.
[[nodiscard]] std::optional<WallTime> parse_http_date(std::string_view text);

/// A value of Retry-After or of a reset header: a duration, or a date less `now` (never negative: a
/// date in the past is 0). `now` is the response's own Date header where it has one.
[[nodiscard]] std::optional<Duration> parse_wait(std::string_view text, WallTime now);

/// "Please try again in 41.724s", "Please retry after 3 seconds", `"retryDelay": "34.07s"` in the
/// words of an error.
[[nodiscard]] std::optional<Duration> wait_in_text(std::string_view message);

/// "… on tokens per min (TPM): Limit 200000, Used 193762, Requested 7653". The dimension is
/// "tokens" for a quota by the minute, "tokens_per_day" for a longer one, empty if the text does
/// not say. What the text leaves out is 0; nullopt without Limit.
[[nodiscard]] std::optional<QuotaState> quota_state_in_text(std::string_view message);

/// True for "Request too large … Limit N, Requested M" with M > N and no Used: no wait ever cures
/// it.
[[nodiscard]] bool says_request_too_large(std::string_view message);

/// What the headers of a response say: `x-ratelimit-{limit,remaining,reset}-<dimension>` and
/// `anthropic-ratelimit-<dimension>-{limit,remaining,reset}` for any dimension, retry-after-ms,
/// retry-after, x-should-retry. `now` is used for dates if the response has no Date header.
[[nodiscard]] QuotaSignal quota_signal(const HttpHeaders& headers, WallTime now);

/// Adds what the text of a refusal says; a header's hint wins over the text's.
void add_error_text(QuotaSignal& signal, std::string_view message);

}  // namespace moderato
