#include <moderato/llm/providers/simulated_engine.hpp>

#include <fmt/format.h>

#include <algorithm>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<FaultKind, 10> names{{"none", "500", "503", "reset", "stall", "truncated",
                                          "malformed", "slow-down", "insufficient-quota",
                                          "429-without-hint"}};

std::int64_t tokens_of(std::int64_t characters) {
  return (characters + 3) / 4;
}

/// At most `tokens` tokens of a text, without cutting a character in two.
std::string first_tokens(const std::string& text, std::int64_t tokens) {
  auto end = static_cast<std::size_t>(tokens) * 4;
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
    --end;
  }
  return text.substr(0, end);
}

Duration scaled(Duration duration, double factor) {
  return Duration(static_cast<Duration::rep>(static_cast<double>(duration.count()) * factor));
}

}  // namespace

std::string_view to_string(FaultKind kind) noexcept {
  return names.name_of(kind);
}
std::optional<FaultKind> fault_kind_from_string(std::string_view name) noexcept {
  return names.value_of(name);
}

Json to_json(const SimulatedStats& stats) {
  Json failures = Json::object();
  for (const auto& [code, count] : stats.failures) failures[code] = count;
  return {{"requests", stats.requests},
          {"successes", stats.successes},
          {"failures", std::move(failures)},
          {"input_tokens", stats.input_tokens},
          {"output_tokens", stats.output_tokens},
          {"in_flight", stats.in_flight},
          {"peak_in_flight", stats.peak_in_flight}};
}

SimulatedEngine::SimulatedEngine(SimulatedEngineOptions options)
    : options_(std::move(options)),
      quota_(options_.quota),
      fault_counts_(options_.faults.size(), 0),
      random_state_(options_.seed) {}

double SimulatedEngine::random() {
  random_state_ = random_state_ * 6364136223846793005U + 1442695040888963407U;
  return static_cast<double>(random_state_ >> 11U) * 0x1.0p-53;
}

FaultKind SimulatedEngine::next_fault() {
  FaultKind chosen = FaultKind::none;
  for (std::size_t i = 0; i < options_.faults.size(); ++i) {
    const SimulatedFault& fault = options_.faults[i];
    const bool due = fault.every > 0 && ++fault_counts_[i] % fault.every == 0;
    const bool drawn = fault.probability > 0 && random() < fault.probability;
    if (chosen == FaultKind::none && (due || drawn)) chosen = fault.kind;
  }
  return chosen;
}

void SimulatedEngine::fail(SimulatedAnswer& answer, int status, std::string_view type,
                           std::string_view code, std::string_view message) {
  answer.status = status;
  const Json error{{"message", message},
                   {"type", type},
                   {"param", nullptr},
                   {"code", code.empty() ? Json() : Json(code)}};
  answer.error_body = dump_json(Json{{"error", error}});
  ++stats_.failures[std::string(code.empty() ? type : code)];
}

void SimulatedEngine::refuse(SimulatedAnswer& answer, std::string_view model,
                             const QuotaRefusal& refusal) {
  const bool tokens = refusal.dimension == "tokens";
  const std::string_view unit = tokens ? "tokens per min (TPM)" : "requests per min (RPM)";
  if (refusal.dimension == "concurrency") {
    fail(answer, 429, "requests", "rate_limit_exceeded",
         fmt::format("Too many concurrent requests for {}: Limit {}. Please try again in {}.",
                     model, refusal.limit, quota_duration_text(refusal.wait)));
  } else if (refusal.too_large) {
    return fail(
        answer, 429, refusal.dimension, "rate_limit_exceeded",
        fmt::format("Request too large for {} in organization org-simulated on {}: Limit {}, "
                    "Requested {}. The input or output tokens must be reduced in order to "
                    "run successfully.",
                    model, unit, refusal.limit, refusal.requested));
  } else {
    fail(
        answer, 429, refusal.dimension, "rate_limit_exceeded",
        fmt::format("Rate limit reached for {} in organization org-simulated on {}: Limit {}, Used "
                    "{}, Requested {}. Please try again in {}.",
                    model, unit, refusal.limit, refusal.used, refusal.requested,
                    quota_duration_text(refusal.wait)));
  }
  const auto millis = std::chrono::ceil<std::chrono::milliseconds>(refusal.wait);
  answer.headers.emplace_back("retry-after-ms", std::to_string(millis.count()));
  answer.headers.emplace_back(
      "retry-after", std::to_string(std::chrono::ceil<std::chrono::seconds>(refusal.wait).count()));
}

void SimulatedEngine::misbehave(SimulatedAnswer& answer) {
  switch (answer.fault) {
    case FaultKind::server_error:
      return fail(answer, 500, "server_error", "",
                  "The server had an error while processing your request.");
    case FaultKind::overloaded:
      return fail(answer, 503, "service_unavailable_error", "server_is_overloaded",
                  "The engine is currently overloaded, please try again later.");
    case FaultKind::slow_down:
      return fail(answer, 429, "rate_limit_error", "slow_down",
                  "Your request rate rose too quickly. Please slow down.");
    case FaultKind::insufficient_quota:
      return fail(answer, 429, "insufficient_quota", "insufficient_quota",
                  "You exceeded your current quota, please check your plan and billing details.");
    case FaultKind::refuse_without_hint:
      return fail(answer, 429, "requests", "rate_limit_exceeded", "Rate limit reached.");
    case FaultKind::none:
      return;
    case FaultKind::reset:
    case FaultKind::stall:
    case FaultKind::truncated:
    case FaultKind::malformed_stream:
      ++stats_.failures[std::string(to_string(answer.fault))];
  }
}

void SimulatedEngine::write_answer(ScriptAnswer scripted, const SimulatedRequest& request,
                                   SimulatedAnswer& answer) {
  answer.text = std::move(scripted.text);
  answer.tool_calls = std::move(scripted.tool_calls);
  answer.finish_reason = answer.tool_calls.empty() ? "stop" : "tool_calls";
  auto characters = static_cast<std::int64_t>(answer.text.size());
  for (const ToolCall& call : answer.tool_calls) {
    characters += static_cast<std::int64_t>(call.name.size() + call.arguments.size());
  }
  answer.usage = {.input = tokens_of(request.prompt_characters) + 4 * request.messages,
                  .output = std::max<std::int64_t>(tokens_of(characters), 1),
                  .source = UsageSource::measured};
  if (request.max_tokens && answer.tool_calls.empty() &&
      answer.usage.output > *request.max_tokens) {
    answer.text = first_tokens(answer.text, *request.max_tokens);
    answer.usage.output = *request.max_tokens;
    answer.finish_reason = "length";
  }
  const double factor = 1.0 + options_.latency.spread * (2.0 * random() - 1.0);
  answer.first_token = scaled(options_.latency.first_token, factor) + scripted.delay;
  answer.per_token = scaled(options_.latency.per_token, factor);
}

SimulatedAnswer SimulatedEngine::answer(Instant now, const SimulatedRequest& request) {
  ScriptAnswer scripted = options_.script.answer(request.question);
  const std::lock_guard lock(mutex_);
  SimulatedAnswer answer;
  answer.request_id = fmt::format("req_{:08d}", ++stats_.requests);
  const std::int64_t prompt = tokens_of(request.prompt_characters) + 4 * request.messages;
  const auto refusal = quota_.admit(now, std::max(prompt, request.max_tokens.value_or(0)));
  if (refusal) {
    refuse(answer, request.question.model, *refusal);
  } else {
    answer.admitted = true;
    stats_.in_flight = quota_.in_flight();
    stats_.peak_in_flight = std::max(stats_.peak_in_flight, stats_.in_flight);
    const int status = scripted.error_status;
    if (status != 0) {
      fail(answer, status, status == 429 ? "requests" : "invalid_request_error",
           scripted.error_code, scripted.error_message);
    } else {
      write_answer(std::move(scripted), request, answer);
      answer.fault = next_fault();
      misbehave(answer);
    }
  }
  if (options_.rate_limit_headers) {
    auto headers = quota_.headers(now);
    answer.headers.insert(answer.headers.end(), std::make_move_iterator(headers.begin()),
                          std::make_move_iterator(headers.end()));
  }
  return answer;
}

void SimulatedEngine::finished(const SimulatedAnswer& answer, bool delivered) {
  if (!answer.admitted) return;
  const std::lock_guard lock(mutex_);
  quota_.release();
  stats_.in_flight = quota_.in_flight();
  if (answer.status != 200 || answer.fault != FaultKind::none) return;
  if (!delivered) {
    ++stats_.failures["client_gone"];
    return;
  }
  ++stats_.successes;
  stats_.input_tokens += answer.usage.input;
  stats_.output_tokens += answer.usage.output;
}

SimulatedStats SimulatedEngine::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace moderato
