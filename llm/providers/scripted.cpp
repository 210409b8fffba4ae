#include <moderato/llm/providers/scripted.hpp>

#include <fmt/format.h>

#include <atomic>
#include <memory>

#include <moderato/llm/providers/reply_pieces.hpp>
#include <moderato/llm/tokens/token_estimator.hpp>

namespace moderato {
namespace {

using Script = std::function<Result<ModelReply>(const ModelRequest&)>;

Result<ModelReply> as_reply(const ScriptedReply& scripted) {
  if (const auto* text = std::get_if<std::string>(&scripted)) {
    return ModelReply{.message = Message::assistant(*text), .finish_reason = "stop"};
  }
  if (const auto* message = std::get_if<Message>(&scripted)) {
    ModelReply reply{.message = *message,
                     .finish_reason = message->has_calls() ? "tool_calls" : "stop"};
    reply.message.role = Role::assistant;
    return reply;
  }
  if (const auto* reply = std::get_if<ModelReply>(&scripted)) return *reply;
  return tl::unexpected<Error>(std::get<Error>(scripted));
}

/// A list of replies as a function; thread safe.
Script list_script(std::vector<ScriptedReply> replies, OnExhausted on_exhausted) {
  struct State {
    std::vector<ScriptedReply> replies;
    OnExhausted on_exhausted;
    std::atomic<std::size_t> next{0};
  };
  auto state = std::make_shared<State>();
  state->replies = std::move(replies);
  state->on_exhausted = on_exhausted;
  return [state](const ModelRequest&) -> Result<ModelReply> {
    const std::size_t count = state->replies.size();
    std::size_t index = state->next.fetch_add(1);
    if (index >= count) {
      if (count == 0 || state->on_exhausted == OnExhausted::error) {
        return fail(
            ErrorCode::invalid_request,
            fmt::format("the scripted model has no reply left: it was made with {}", count));
      }
      index = state->on_exhausted == OnExhausted::cycle ? index % count : count - 1;
    }
    return as_reply(state->replies[index]);
  };
}

class ScriptedProvider final : public Provider {
 public:
  ScriptedProvider(Script script, std::string model, const Clock& clock)
      : script_(std::move(script)), model_(std::move(model)), clock_(clock) {}

  ProviderOutcome send(const ProviderRequest& request, const CallContext&) override {
    ProviderOutcome outcome{.reached = Reached::answered};
    const Instant sent = clock_.now();
    outcome.reply = ask(request.request);
    if (!outcome.reply) {
      outcome.http_status = outcome.reply.error().http_status;
      return outcome;
    }
    outcome.http_status = 200;
    ModelReply& reply = *outcome.reply;
    if (reply.model.empty()) reply.model = model_;
    if (reply.usage.source == UsageSource::none) {
      reply.usage = {.input = TokenEstimator().measure(request.request).expected,
                     .output = TokenEstimator::of_reply(reply.message),
                     .source = UsageSource::estimated};
    }
    outcome.request_id = reply.request_id;
    if (request.on_delta) {
      outcome.time_to_first_token = clock_.now() - sent;
      for_each_piece(reply.message.text(), request.on_delta);
    }
    return outcome;
  }

  [[nodiscard]] std::string_view name() const noexcept override { return "scripted"; }
  [[nodiscard]] std::string_view model() const noexcept override { return model_; }
  [[nodiscard]] std::string quota_key() const override { return "scripted/" + model_; }

 private:
  Result<ModelReply> ask(const ModelRequest& request) const {
    try {
      return script_(request);
    } catch (const std::exception& error) {
      return fail(ErrorCode::internal,
                  fmt::format("the scripted model's function threw: {}", error.what()));
    } catch (...) {
      return fail(ErrorCode::internal, "the scripted model's function threw");
    }
  }

  const Script script_;
  const std::string model_;
  const Clock& clock_;
};

}  // namespace

ModelProvider scripted(std::vector<ScriptedReply> replies, ScriptedOptions options) {
  return scripted(list_script(std::move(replies), options.on_exhausted), std::move(options));
}

ModelProvider scripted(std::function<Result<ModelReply>(const ModelRequest&)> function,
                       ScriptedOptions options) {
  return ModelProvider([function = std::move(function), model = std::move(options.model)](
                           Runtime& runtime) -> std::unique_ptr<Provider> {
    return std::make_unique<ScriptedProvider>(function, model, runtime.clock());
  });
}

}  // namespace moderato
