#include <moderato/llm/providers/simulated.hpp>

#include <algorithm>

#include <moderato/core/wait.hpp>
#include <moderato/llm/http/http_client.hpp>
#include <moderato/llm/providers/openai_error.hpp>
#include <moderato/llm/providers/quota_signals.hpp>
#include <moderato/llm/providers/reply_pieces.hpp>

namespace moderato {
namespace {

SimulatedRequest as_seen_by_a_provider(const ProviderRequest& sent, std::string_view model,
                                       std::string& last_text) {
  const ModelRequest& request = sent.request;
  SimulatedRequest seen{.question = {.model = model},
                        .messages = static_cast<std::int64_t>(request.messages.size()),
                        .max_tokens = sent.max_output_tokens};
  for (const MessagePtr& message : request.messages) {
    const Message& m = **message;
    if (m.role == Role::assistant) ++seen.question.replies_so_far;
    seen.prompt_characters += static_cast<std::int64_t>(
        m.content.is_parts() ? m.text().size() : m.content.as_text().size());
  }
  if (!request.messages.empty()) {
    last_text = request.messages.back()->operator*().text();
    seen.question.last_role = to_string((*request.messages.back())->role);
    seen.question.last_text = last_text;
  }
  if (request.tools && !request.tools->empty()) seen.question.tool = request.tools->front().name;
  return seen;
}

class SimulatedDialect final : public Provider {
 public:
  SimulatedDialect(std::shared_ptr<SimulatedEngine> engine, std::string model, Duration silence,
                   const Clock& clock)
      : engine_(std::move(engine)), model_(std::move(model)), silence_(silence), clock_(clock) {}

  ProviderOutcome send(const ProviderRequest& request, const CallContext& context) override {
    std::string last_text;
    const auto answer =
        engine_->answer(clock_.now(), as_seen_by_a_provider(request, model_, last_text));
    ProviderOutcome outcome{.reached = Reached::sent};
    const bool delivered = receive(answer, request, context, outcome);
    engine_->finished(answer, delivered);
    return outcome;
  }

  [[nodiscard]] std::string_view name() const noexcept override { return "simulated"; }
  [[nodiscard]] std::string_view model() const noexcept override { return model_; }
  [[nodiscard]] std::string quota_key() const override { return "simulated/" + model_; }

 private:
  /// Waits; false with the outcome filled if the caller gave up.
  bool pass(Duration duration, const CallContext& context, ProviderOutcome& outcome) const {
    if (duration <= Duration::zero()) return true;
    const Instant until = saturating_add(clock_.now(), duration);
    const bool in_time = until <= context.deadline;
    if (sleep_until(std::min(until, context.deadline), context.stop) == Wake::cancelled) {
      outcome.reply = fail(ErrorCode::cancelled, "the call was cancelled");
      return false;
    }
    if (!in_time) outcome.reply = fail(ErrorCode::deadline_exceeded, "no answer by the deadline");
    return in_time;
  }

  bool receive(const SimulatedAnswer& answer, const ProviderRequest& request,
               const CallContext& context, ProviderOutcome& outcome) const {
    if (!pass(answer.first_token, context, outcome)) return false;
    if (answer.fault == FaultKind::reset) {
      outcome.reply = fail(ErrorCode::connection, "the connection was reset by the provider");
      return false;
    }
    if (answer.fault == FaultKind::stall) {
      if (pass(silence_, context, outcome)) {
        outcome.reply = fail(ErrorCode::timeout, "the provider was silent for too long");
      }
      return false;
    }
    outcome.reached = Reached::answered;
    outcome.http_status = answer.status;
    outcome.request_id = answer.request_id;
    read_headers(answer, outcome);
    if (answer.status != 200) {
      Error error = read_openai_error(answer.status, answer.error_body, outcome.quota);
      error.request_id = answer.request_id;
      outcome.reply = fail(std::move(error));
      return true;
    }
    return receive_text(answer, request, context, outcome);
  }

  void read_headers(const SimulatedAnswer& answer, ProviderOutcome& outcome) const {
    HttpHeaders headers;
    for (const auto& [name, value] : answer.headers) headers.add_line(name + ": " + value);
    outcome.quota = quota_signal(headers, clock_.wall_now());
  }

  bool receive_text(const SimulatedAnswer& answer, const ProviderRequest& request,
                    const CallContext& context, ProviderOutcome& outcome) const {
    const bool broken =
        answer.fault == FaultKind::truncated || answer.fault == FaultKind::malformed_stream;
    if (request.on_delta) {
      outcome.time_to_first_token = answer.first_token;
      std::string_view text = answer.text;
      if (broken) text = text.substr(0, text.size() / 2);
      if (!stream(text, answer, request, context, outcome)) return false;
    } else if (!pass(answer.text_time, context, outcome)) {
      return false;
    }
    if (broken) {
      outcome.reply = fail(ErrorCode::protocol, "the provider's answer is broken off or damaged");
      return true;
    }
    outcome.reply = ModelReply{
        .message = {.role = Role::assistant,
                    .content = answer.tool_calls.empty() ? Content(answer.text) : Content(nullptr),
                    .tool_calls = answer.tool_calls},
        .finish_reason = answer.finish_reason,
        .usage = answer.usage,
        .model = model_,
        .request_id = answer.request_id};
    return true;
  }

  /// Gives the text piece by piece, in equal steps of the time that its tokens take.
  bool stream(std::string_view text, const SimulatedAnswer& answer, const ProviderRequest& request,
              const CallContext& context, ProviderOutcome& outcome) const {
    std::int64_t pieces = 0;
    for_each_piece(text, [&](std::string_view) { ++pieces; });
    const Duration step = answer.text_time / std::max<std::int64_t>(pieces, 1);
    bool here = pieces > 0 || pass(step, context, outcome);
    for_each_piece(text, [&](std::string_view piece) {
      here = here && pass(step, context, outcome);
      if (here) request.on_delta(piece);
    });
    if (!here) outcome.usage_so_far = answer.usage;
    return here;
  }

  const std::shared_ptr<SimulatedEngine> engine_;
  const std::string model_;
  const Duration silence_;
  const Clock& clock_;
};

}  // namespace

SimulatedProvider::SimulatedProvider(SimulatedOptions options)
    : engine_(std::make_shared<SimulatedEngine>(
          SimulatedEngineOptions{.script = std::move(options.script),
                                 .quota = std::move(options.quota),
                                 .latency = options.latency,
                                 .faults = std::move(options.faults),
                                 .seed = options.seed,
                                 .rate_limit_headers = options.rate_limit_headers,
                                 .hint = options.hint,
                                 .outages = std::move(options.outages),
                                 .log = std::move(options.log)})),
      model_(std::move(options.model)),
      silence_timeout_(options.silence_timeout) {}

ModelProvider SimulatedProvider::provider() const {
  return provider(model_);
}

ModelProvider SimulatedProvider::provider(std::string model) const {
  return ModelProvider([engine = engine_, model = std::move(model),
                        silence = silence_timeout_](Runtime& runtime) -> std::unique_ptr<Provider> {
    return std::make_unique<SimulatedDialect>(engine, model, silence, runtime.clock());
  });
}

ModelProvider simulated(SimulatedOptions options) {
  return SimulatedProvider(std::move(options)).provider();
}

}  // namespace moderato
