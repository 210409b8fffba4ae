#pragma once

// Private header of the library: not installed.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include <moderato/llm/failed_turns.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/llm/model_effect.hpp>
#include <moderato/llm/tokens/reply_length.hpp>
#include <moderato/llm/tokens/token_estimator.hpp>

namespace moderato {

/// What a Model is: a provider, a limiter, a retry policy, and the one door to all of them.
class Model::Core {
 public:
  /// Throws std::invalid_argument for options that make no sense.
  Core(Runtime& runtime, std::unique_ptr<Provider> provider, ModelOptions options);

  /// The logical call, and those to the fallbacks where it fails.
  /// `text_given`, if not null, becomes true if a piece of the reply has reached the caller.
  [[nodiscard]] Result<ModelReply> complete(const ModelRequest& request, const CallContext& context,
                                            bool* text_given = nullptr);

  [[nodiscard]] Runtime& runtime() noexcept { return runtime_; }
  [[nodiscard]] const Provider& provider() const noexcept { return *provider_; }
  [[nodiscard]] const ModelOptions& options() const noexcept { return options_; }
  [[nodiscard]] Limiter& limiter() noexcept { return options_.limiter; }
  [[nodiscard]] std::optional<std::int64_t> context_window() const { return context_window_; }
  [[nodiscard]] std::int64_t prompt_upper_bound(const ModelRequest& request) const;
  [[nodiscard]] std::int64_t rough_prompt_tokens(const ModelRequest& request) const;

 private:
  struct Call;     // one logical call
  struct Attempt;  // one request on its behalf, and what it holds meanwhile

  /// One effect of the session: performed, or given back from its recording.
  [[nodiscard]] Result<ModelReply> complete(Call& call);
  /// Why the next fallback has to be asked; empty: it has not.
  [[nodiscard]] std::string insufficient(const Call& call, const Result<ModelReply>& reply) const;
  [[nodiscard]] Call begin(const ModelRequest& request, const CallContext& context);
  void ask_fallbacks(Call& call, const CallContext& context, Result<ModelReply>& reply);
  [[nodiscard]] Result<ModelReply> recorded(Call& call, EffectLog& effects);
  /// From the cache, else from the provider.
  [[nodiscard]] Result<ModelReply> answer(Call& call);
  [[nodiscard]] Result<ModelReply> answer_from(ReplyCache& cache, Call& call);
  [[nodiscard]] Result<ModelReply> ask(Call& call);
  [[nodiscard]] Result<ModelReply> attempts(Call& call);
  /// Null: it is none, or may be made.
  [[nodiscard]] std::unique_ptr<Error> recognise_outer_retry(Call& call);
  void replay(Call& call, const ModelEffect& effect);
  void charge_broken_off(Call& call, EffectLog& effects, std::uint64_t step);
  [[nodiscard]] std::string digest(const Call& call) const;

  // The steps of attempts(), in their order.
  [[nodiscard]] std::optional<Error> reserve(const Call& call, Attempt& attempt) const;
  [[nodiscard]] std::optional<Error> admit(const Call& call, Attempt& attempt);
  [[nodiscard]] ProviderOutcome send(Call& call, Attempt& attempt);
  void settle(Call& call, Attempt& attempt, ProviderOutcome& outcome);
  /// nullopt: no retry; the outcome's error may have got a `retry_after`.
  [[nodiscard]] std::optional<Duration> delay_before_retry(Call& call, const Attempt& attempt,
                                                           ProviderOutcome& outcome);

  [[nodiscard]] Result<ModelReply> refuse(Call& call, Error&& error);
  [[nodiscard]] Usage usage_of(const Call& call, const Attempt& attempt,
                               const ProviderOutcome& outcome) const;
  [[nodiscard]] std::int64_t micros_of(const Usage& usage) const;
  void charge(Call& call, const CallTotals::Snapshot& spent) const;
  [[nodiscard]] CallRecord record_of(const Call& call) const;
  /// False: a record of the call would be read by nobody.
  [[nodiscard]] bool is_recorded(const Call& call) const;
  void write_attempt(const Call& call, const Attempt& attempt, const ProviderOutcome& outcome,
                     const Usage& used, double cost, Duration latency);
  void write(const Call& call, CallRecord&& record, const Error* error);
  void append_to_ledger(const Call& call, const CallRecord& record);
  void give_text(Call& call, std::string_view text);
  [[nodiscard]] double random();
  template <class Make>
  void notify(const Call& call, Make&& make) const;

  Runtime& runtime_;
  std::unique_ptr<Provider> provider_;
  std::string quota_key_;
  ModelOptions options_;
  std::optional<std::int64_t> context_window_;  // stated, or known of the model's name
  TokenEstimator estimator_;
  ReplyLength reply_length_;
  FailedTurns failed_turns_;
  std::atomic<std::uint64_t> calls_{0};
};

}  // namespace moderato
