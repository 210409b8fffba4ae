#pragma once

#include <cstdint>
#include <functional>
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
#include <moderato/llm/providers/simulated_fault.hpp>
#include <moderato/llm/providers/simulated_quota.hpp>
#include <moderato/llm/providers/simulated_script.hpp>

namespace moderato {

/// How long answers take: the first token comes after `first_token`, each further one `per_token`
/// later. Both are multiplied by a factor drawn for each answer from a log-normal distribution of
/// mean 1, as real latencies are spread; `sigma` 0.5 puts one answer in ten above 1.7 times the
/// mean. 0: no spread.
struct LatencyLaw {
  Duration first_token{};
  Duration per_token{};
  double sigma = 0.0;
};

/// A time in which every request is answered with 503.
struct SimulatedOutage {
  Duration after{};  ///< From the first request.
  Duration lasts{};
};

/// How a 429 says when to come back.
enum class HintForm : std::uint8_t {
  both,          ///< retry-after-ms and retry-after, and the words of the body.
  seconds,       ///< retry-after alone.
  milliseconds,  ///< retry-after-ms alone.
  words,         ///< Only the words of the body.
};
/// "both", "seconds", "milliseconds", "words".
[[nodiscard]] std::string_view to_string(HintForm form) noexcept;
[[nodiscard]] std::optional<HintForm> hint_form_from_string(std::string_view name) noexcept;

/// What the provider saw of a request and decided.
struct SimulatedLogEntry {
  Instant at{};
  std::string_view request_id{};
  std::int64_t input = 0;   ///< Tokens of the prompt.
  std::int64_t output = 0;  ///< max_tokens; 0 without.
  int status = 200;
};

struct SimulatedEngineOptions {
  SimulatedScript script{};
  SimulatedQuotaOptions quota{};
  LatencyLaw latency{};
  std::vector<SimulatedFault> faults{};
  std::uint64_t seed = 1;
  bool rate_limit_headers = true;
  HintForm hint = HintForm::both;
  std::vector<SimulatedOutage> outages{};
  /// Sees each request when it has been decided on, in order; must not call the engine.
  std::function<void(const SimulatedLogEntry&)> log{};
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
  Duration first_token{};  ///< Until the first piece of the answer.
  Duration text_time{};    ///< From then until its end.
};

/// A provider's own counts.
struct SimulatedStats {
  std::int64_t requests = 0;
  std::int64_t successes = 0;
  std::int64_t input_tokens = 0;  ///< Of the successes.
  std::int64_t output_tokens = 0;
  std::int64_t in_flight = 0;
  std::int64_t peak_in_flight = 0;
  /// Refused for lack of quota: "requests", "tokens", "concurrency", "too_large".
  std::map<std::string, std::int64_t> refused{};
  /// Other failures: by the error's code (or type), the name of a fault, or "client_gone".
  std::map<std::string, std::int64_t> failures{};
};

[[nodiscard]] Json to_json(const SimulatedStats& stats);

/// {"error": {"message", "type", "param", "code"}}; an empty code is written as null.
[[nodiscard]] std::string error_body(std::string_view type, std::string_view code,
                                     std::string_view message);

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
  [[nodiscard]] SimulatedAnswer decide(Instant now, const SimulatedRequest& request,
                                       ScriptAnswer scripted);
  [[nodiscard]] bool is_out(Instant now);
  [[nodiscard]] FaultKind next_fault();
  [[nodiscard]] double random();  ///< [0, 1)
  [[nodiscard]] double latency_factor();
  void write_answer(ScriptAnswer scripted, const SimulatedRequest& request,
                    SimulatedAnswer& answer);
  void refuse(SimulatedAnswer& answer, std::string_view model, const QuotaRefusal& refusal);
  void misbehave(SimulatedAnswer& answer);

  const SimulatedEngineOptions options_;
  mutable std::mutex mutex_;
  SimulatedQuota quota_;
  SimulatedStats stats_;
  std::vector<std::int64_t> fault_counts_;
  std::uint64_t random_state_;
  std::optional<Instant> began_;
};

}  // namespace moderato
