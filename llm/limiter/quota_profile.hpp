#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <moderato/core/time.hpp>

namespace moderato {

/// What a provider charges its token limits with when a call arrives.
enum class ChargeBasis : std::uint8_t {
  input_and_cap,  ///< Estimated prompt + the output cap.
  max_of_both,    ///< The larger of the prompt and the output cap.
  input_only,     ///< The prompt; output is free.
  actual,         ///< What was used, as it is used.
};

/// Whether a provider gives back what a finished call did not use.
enum class Settles : std::uint8_t {
  yes,
  no,
  /// Not documented: the limiter's own pace gets it back, and the picture of the provider's bucket
  /// follows the headers alone.
  unknown,
};

/// What a 429 without a hint and without numbers means.
enum class BareRejection : std::uint8_t {
  pause,  ///< Too fast: pause, longer each time.
  close,  ///< A spending limit: nobody may try for ten minutes.
};

/// How one provider counts: data, not code. The rules and their sources are in docs/limits.md. Take
/// one by name or from `profiles`, and change what is different for your account.
struct QuotaProfile {
  std::string_view name = "generic";  ///< A literal.
  ChargeBasis basis = ChargeBasis::input_and_cap;
  Settles settles = Settles::yes;
  int requests_per_rejection = 1;     ///< Request units that a refused call costs.
  int output_weight = 1;              ///< Units that one output token costs.
  bool cached_input_is_free = false;  ///< Cached prompt tokens are not charged.
  /// Burst that the provider is known to bear, as time of quota.
  Duration request_burst = std::chrono::seconds(1);
  Duration token_burst = std::chrono::seconds(3);
  BareRejection bare_rejection = BareRejection::pause;
  /// Limits calls in flight instead of rates (self-hosted servers): start with so many; 0: no.
  std::int64_t in_flight = 0;
  /// How much a `remaining` header may be rounded up.
  std::int64_t remaining_rounded_by = 0;
};

namespace profiles {

inline constexpr QuotaProfile generic{};
/// Continuous buckets of a minute; refused calls count as requests; the larger of prompt and cap is
/// charged; whether unused output comes back is not documented.
inline constexpr QuotaProfile openai{
    .name = "openai", .basis = ChargeBasis::input_and_cap, .settles = Settles::unknown};
/// Requests are looked at by the second or by ten seconds; prompt + cap are charged at arrival and
/// stay charged.
inline constexpr QuotaProfile azure{
    .name = "azure", .settles = Settles::no, .request_burst = std::chrono::milliseconds(900)};
/// Input and output limits apart; cached input is free; a 429 without retry-after is a spending
/// limit; `remaining` is rounded to thousands.
inline constexpr QuotaProfile anthropic{.name = "anthropic",
                                        .basis = ChargeBasis::actual,
                                        .cached_input_is_free = true,
                                        .bare_rejection = BareRejection::close,
                                        .remaining_rounded_by = 500};
/// Only the prompt counts.
inline constexpr QuotaProfile gemini{
    .name = "gemini", .basis = ChargeBasis::input_only, .settles = Settles::no};
/// Requests by the second: spacing, no burst.
inline constexpr QuotaProfile mistral{
    .name = "mistral", .basis = ChargeBasis::actual, .request_burst = Duration::zero()};
/// As openai; cached tokens are free.
inline constexpr QuotaProfile groq{
    .name = "groq", .settles = Settles::unknown, .cached_input_is_free = true};
/// Reserves prompt + cap and settles at the end; an output token of newer Claude models weighs 5.
inline constexpr QuotaProfile bedrock{.name = "bedrock", .output_weight = 5};
/// Calls in flight for each account and model; no rates.
inline constexpr QuotaProfile deepseek{
    .name = "deepseek", .basis = ChargeBasis::actual, .in_flight = 16};
/// ollama, vLLM, llama-server: slots, and 503 when the queue is full.
inline constexpr QuotaProfile self_hosted{
    .name = "self_hosted", .basis = ChargeBasis::actual, .in_flight = 4};

}  // namespace profiles

/// A profile by its name ("openai", "azure", "anthropic", "gemini", "mistral", "groq", "bedrock",
/// "deepseek", "ollama", "vllm", "llama-server", "self_hosted", "generic"); nullopt: unknown.
[[nodiscard]] std::optional<QuotaProfile> quota_profile(std::string_view name) noexcept;

}  // namespace moderato
