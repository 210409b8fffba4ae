#include <moderato/llm/providers/simulated_engine.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<HintForm, 4> hint_forms{{"both", "seconds", "milliseconds", "words"}};

std::int64_t tokens_of(std::int64_t characters) {
  return (characters + 3) / 4;
}

std::int64_t prompt_tokens(const SimulatedRequest& request) {
  return tokens_of(request.prompt_characters) + 4 * request.messages;
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

std::string_view to_string(HintForm form) noexcept {
  return hint_forms.name_of(form);
}
std::optional<HintForm> hint_form_from_string(std::string_view name) noexcept {
  return hint_forms.value_of(name);
}

std::string error_body(std::string_view type, std::string_view code, std::string_view message) {
  const auto or_null = [](std::string_view text) { return text.empty() ? Json() : Json(text); };
  return dump_json({{"error",
                     {{"message", message},
                      {"type", or_null(type)},
                      {"param", nullptr},
                      {"code", or_null(code)}}}});
}

Json to_json(const SimulatedStats& stats) {
  const auto object = [](const std::map<std::string, std::int64_t>& counts) {
    Json json = Json::object();
    for (const auto& [name, count] : counts) json[name] = count;
    return json;
  };
  return {{"requests", stats.requests},         {"successes", stats.successes},
          {"refused", object(stats.refused)},   {"failures", object(stats.failures)},
          {"input_tokens", stats.input_tokens}, {"output_tokens", stats.output_tokens},
          {"in_flight", stats.in_flight},       {"peak_in_flight", stats.peak_in_flight}};
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

double SimulatedEngine::latency_factor() {
  const double sigma = options_.latency.sigma;
  if (sigma <= 0.0) return 1.0;
  constexpr double two_pi = 6.283185307179586;
  const double radius = std::sqrt(-2.0 * std::log(1.0 - random()));  // Box and Muller
  const double normal = radius * std::cos(two_pi * random());
  return std::exp(sigma * normal - sigma * sigma / 2.0);
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

void SimulatedEngine::refuse(SimulatedAnswer& answer, std::string_view model,
                             const QuotaRefusal& refusal) {
  const bool tokens = refusal.dimension.ends_with("tokens");
  const bool azure = options_.quota.evaluator == QuotaEvaluator::one_second_window;
  const std::string_view unit = refusal.dimension == "input_tokens" ? "input tokens per min (ITPM)"
                                : refusal.dimension == "output_tokens"
                                    ? "output tokens per min (OTPM)"
                                : tokens ? "tokens per min (TPM)"
                                         : "requests per min (RPM)";
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(refusal.wait).count();
  answer.status = 429;
  ++stats_.refused[refusal.too_large ? "too_large" : refusal.dimension];
  if (refusal.dimension == "acceleration") {  // no hint: nobody knows what gentle enough is
    answer.error_body = error_body(
        "rate_limit_error", "",
        "This request would exceed your organization's acceleration limit. Your use of the API has "
        "grown quickly; scale it up gradually.");
    return;
  }
  if (refusal.too_large) {
    answer.error_body = error_body(
        refusal.dimension, "rate_limit_exceeded",
        fmt::format("Request too large for {} in organization org-simulated on {}: Limit {}, "
                    "Requested {}. The input or output tokens must be reduced in order to run "
                    "successfully.",
                    model, unit, refusal.limit, refusal.requested));
    return;
  }
  if (refusal.dimension == "concurrency") {
    answer.error_body =
        error_body("requests", "rate_limit_exceeded",
                   fmt::format("Too many requests at once for {}: {} are being "
                               "answered. Please try again in {}.",
                               model, refusal.used, quota_duration_text(refusal.wait)));
  } else if (azure) {
    answer.error_body = error_body(
        "", "429",
        fmt::format("Requests to the ChatCompletions_Create Operation have exceeded the {} rate "
                    "limit of your current pricing tier. Please retry after {} second{}.",
                    tokens ? "token" : "call", seconds, seconds == 1 ? "" : "s"));
  } else {
    answer.error_body = error_body(
        refusal.dimension, "rate_limit_exceeded",
        fmt::format("Rate limit reached for {} in organization org-simulated on {}: Limit {}, Used "
                    "{}, Requested {}. Please try again in {}.",
                    model, unit, refusal.limit, refusal.used, refusal.requested,
                    quota_duration_text(refusal.wait)));
  }
  const auto millis = std::chrono::ceil<std::chrono::milliseconds>(refusal.wait).count();
  const HintForm form = options_.hint;
  if (form == HintForm::both || form == HintForm::milliseconds) {
    answer.headers.emplace_back("retry-after-ms", std::to_string(millis));
  }
  if (form == HintForm::both || form == HintForm::seconds) {
    answer.headers.emplace_back("retry-after", std::to_string(seconds));
  }
}

bool SimulatedEngine::is_out(Instant now) {
  if (!began_) began_ = now;
  return std::any_of(options_.outages.begin(), options_.outages.end(),
                     [&](const SimulatedOutage& outage) {
                       const Duration since = now - *began_;
                       return since >= outage.after && since < outage.after + outage.lasts;
                     });
}

void SimulatedEngine::misbehave(SimulatedAnswer& answer) {
  if (answer.fault == FaultKind::none) return;
  ++stats_.failures[std::string(to_string(answer.fault))];
  if (const auto error = error_of(answer.fault)) {
    answer.status = error->status;
    answer.error_body = error_body(error->type, error->code, error->message);
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
  answer.usage = {.input = prompt_tokens(request),
                  .output = std::max<std::int64_t>(tokens_of(characters), 1),
                  .source = UsageSource::measured};
  if (request.max_tokens && answer.tool_calls.empty() &&
      answer.usage.output > *request.max_tokens) {
    answer.text = first_tokens(answer.text, *request.max_tokens);
    answer.usage.output = *request.max_tokens;
    answer.finish_reason = "length";
  }
  const double factor = latency_factor();
  answer.first_token = scaled(options_.latency.first_token, factor) + scripted.delay;
  answer.text_time = scaled(options_.latency.per_token, factor) * answer.usage.output;
}

SimulatedAnswer SimulatedEngine::answer(Instant now, const SimulatedRequest& request) {
  ScriptAnswer scripted = options_.script.answer(request.question);
  const std::lock_guard lock(mutex_);
  SimulatedAnswer answer = decide(now, request, std::move(scripted));
  if (options_.log) {
    options_.log({.at = now,
                  .request_id = answer.request_id,
                  .input = prompt_tokens(request),
                  .output = request.max_tokens.value_or(0),
                  .status = answer.status});
  }
  return answer;
}

SimulatedAnswer SimulatedEngine::decide(Instant now, const SimulatedRequest& request,
                                        ScriptAnswer scripted) {
  SimulatedAnswer answer;
  answer.request_id = fmt::format("req_{:08d}", ++stats_.requests);
  if (is_out(now)) {
    answer.status = 503;
    answer.error_body = error_body("service_unavailable_error", "", "The service is down.");
    ++stats_.failures["outage"];
    return answer;
  }
  const auto refusal = quota_.admit(now, prompt_tokens(request), request.max_tokens.value_or(0));
  if (refusal) {
    refuse(answer, request.question.model, *refusal);
  } else {
    answer.admitted = true;
    stats_.in_flight = quota_.in_flight();
    stats_.peak_in_flight = std::max(stats_.peak_in_flight, stats_.in_flight);
    if (const auto& error = scripted.error) {
      answer.status = error->status;
      answer.error_body = error_body(error->type, error->code, error->message);
      answer.headers = error->headers;
      answer.first_token = scripted.delay;
      ++stats_.failures[error->code.empty() ? error->type : error->code];
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
