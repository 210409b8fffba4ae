#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moderato/core/json.hpp>
#include <moderato/core/time.hpp>
#include <moderato/core/usage.hpp>
#include <moderato/llm/providers/simulated_quota.hpp>
#include <moderato/llm/providers/simulated_script.hpp>

namespace moderato {

/// What a simulated provider does wrong on purpose.
enum class FaultKind : std::uint8_t {
  none,
  server_error,         ///< HTTP 500.
  overloaded,           ///< HTTP 503.
  reset,                ///< The connection breaks before an answer.
  stall,                ///< Silence: no answer ever.
  truncated,            ///< The answer ends in its middle.
  malformed_stream,     ///< A stream (or an answer) that is not what the protocol says.
  slow_down,            ///< 429 slow_down.
  insufficient_quota,   ///< 429 that means billing.
  refuse_without_hint,  ///< 429 rate_limit_exceeded without any hint.
};

/// "500", "503", "reset", "stall", "truncated", "malformed", "slow-down", "insufficient-quota",
/// "429-without-hint".
[[nodiscard]] std::string_view to_string(FaultKind kind) noexcept;
[[nodiscard]] std::optional<FaultKind> fault_kind_from_string(std::string_view name) noexcept;

/// When a fault happens: every `every`-th request (1: each), or with a probability. Admitted
/// requests are counted; the first fault of the list that applies happens.
struct SimulatedFault {
  FaultKind kind = FaultKind::none;
  double probability = 0.0;
  std::int64_t every = 0;
};

/// How long answers take: first token after `first_token`, then `per_token` for each. Both are
/// multiplied by a factor drawn from [1 − spread, 1 + spread].
struct LatencyLaw {
  Duration first_token{};
  Duration per_token{};
  double spread = 0.0;
};

struct SimulatedEngineOptions {
  SimulatedScript script{};
  SimulatedQuotaOptions quota{};
  LatencyLaw latency{};
  std::vector<SimulatedFault> faults{};
  std::uint64_t seed = 1;
  bool rate_limit_headers = true;
};

/// What the engine knows of a request.
struct SimulatedRequest {
  ScriptQuestion question{};
  std::int64_t prompt_characters = 0;
  std::int64_t messages = 0;
  std::optional<std::int64_t> max_tokens{};
};

/// What the provider will do with a request.
struct SimulatedAnswer {
  int status = 200;
  FaultKind fault = FaultKind::none;
  bool admitted = false;  ///< It holds a slot until finished().
  std::string request_id{};
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string error_body{};  ///< JSON, where status is not 200.
  std::string text{};
  std::vector<ToolCall> tool_calls{};
  std::string finish_reason{};
  Usage usage{};
  Duration first_token{};
  Duration per_token{};
};

/// A provider's own counts.
struct SimulatedStats {
  std::int64_t requests = 0;
  std::int64_t successes = 0;
  std::int64_t input_tokens = 0;  ///< Of the successes.
  std::int64_t output_tokens = 0;
  std::int64_t in_flight = 0;
  std::int64_t peak_in_flight = 0;
  std::map<std::string, std::int64_t> failures{};  ///< By the error's code.
};

[[nodiscard]] Json to_json(const SimulatedStats& stats);

/// A provider without a wire: scripts, quota, latency, faults and counts. Time is a parameter, so
/// the same engine answers in virtual time in process and over HTTP. Thread safe. Tokens are
/// characters / 4, and 4 a message; a request is charged with the larger of its prompt and its
/// max_tokens, as OpenAI documents it.
class SimulatedEngine {
 public:
  explicit SimulatedEngine(SimulatedEngineOptions options);

  /// Decides on a request that arrives at `now`.
  [[nodiscard]] SimulatedAnswer answer(Instant now, const SimulatedRequest& request);
  /// An admitted request is over; `delivered`: the client got all of the answer.
  void finished(const SimulatedAnswer& answer, bool delivered);
  [[nodiscard]] SimulatedStats stats() const;

 private:
  [[nodiscard]] FaultKind next_fault();
  [[nodiscard]] double random();  ///< [0, 1)
  void write_answer(ScriptAnswer scripted, const SimulatedRequest& request,
                    SimulatedAnswer& answer);
  void fail(SimulatedAnswer& answer, int status, std::string_view type, std::string_view code,
            std::string_view message);
  void refuse(SimulatedAnswer& answer, std::string_view model, const QuotaRefusal& refusal);
  void misbehave(SimulatedAnswer& answer);

  const SimulatedEngineOptions options_;
  mutable std::mutex mutex_;
  SimulatedQuota quota_;
  SimulatedStats stats_;
  std::vector<std::int64_t> fault_counts_;
  std::uint64_t random_state_;
};

}  // namespace moderato
