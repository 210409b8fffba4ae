#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <moderato/core/runtime.hpp>
#include <moderato/llm/provider.hpp>

namespace moderato::test {

/// A provider whose attempts are a function of the test, and who counts its own requests.
class FakeProvider {
 public:
  struct Sent {
    int attempt = 0;
    std::optional<std::int64_t> cap{};
    Instant at{};
  };
  using Attempt = std::function<ProviderOutcome(const ProviderRequest&, const CallContext&)>;

  explicit FakeProvider(Attempt attempt) : state_(std::make_shared<State>()) {
    state_->attempt = std::move(attempt);
  }
  /// One outcome after the other; the last one for ever.
  explicit FakeProvider(std::vector<ProviderOutcome> outcomes)
      : FakeProvider([outcomes = std::move(outcomes), next = std::size_t{0}](
                         const ProviderRequest&, const CallContext&) mutable {
          return outcomes[std::min(next++, outcomes.size() - 1)];
        }) {}

  [[nodiscard]] ModelProvider provider() const {
    return ModelProvider([state = state_](Runtime& runtime) -> std::unique_ptr<Provider> {
      return std::make_unique<Endpoint>(state, runtime.clock());
    });
  }
  [[nodiscard]] const std::vector<Sent>& sent() const { return state_->sent; }

 private:
  struct State {
    Attempt attempt;
    std::vector<Sent> sent;
  };
  class Endpoint final : public Provider {
   public:
    Endpoint(std::shared_ptr<State> state, const Clock& clock)
        : state_(std::move(state)), clock_(clock) {}
    ProviderOutcome send(const ProviderRequest& request, const CallContext& context) override {
      state_->sent.push_back({request.attempt, request.max_output_tokens, clock_.now()});
      return state_->attempt(request, context);
    }
    [[nodiscard]] std::string_view name() const noexcept override { return "fake"; }
    [[nodiscard]] std::string_view model() const noexcept override { return "fake-1"; }
    [[nodiscard]] std::string quota_key() const override { return "fake"; }

   private:
    std::shared_ptr<State> state_;
    const Clock& clock_;
  };
  std::shared_ptr<State> state_;
};

inline ProviderOutcome answer(std::string text,
                              Usage usage = {
                                  .input = 10, .output = 5, .source = UsageSource::measured}) {
  ProviderOutcome outcome{.reached = Reached::answered, .http_status = 200, .request_id = "req-1"};
  outcome.reply = ModelReply{.message = Message::assistant(std::move(text)),
                             .finish_reason = "stop",
                             .usage = usage,
                             .request_id = "req-1"};
  return outcome;
}

inline ProviderOutcome failure(ErrorCode code, int status = 0,
                               std::optional<Duration> retry_after = {}) {
  ProviderOutcome outcome{.reached = status > 0 ? Reached::answered : Reached::sent,
                          .http_status = status};
  outcome.quota.retry_after = retry_after;
  outcome.reply = fail({.code = code,
                        .message = "the provider said no",
                        .retry_after = retry_after,
                        .http_status = status});
  return outcome;
}

inline ModelRequest question(std::string text) {
  return {.messages = {store(Message::user(std::move(text)))}};
}

}  // namespace moderato::test
