#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/call_context.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/core/usage.hpp>
#include <moderato/llm/cache/reply_cache.hpp>
#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/provider.hpp>
#include <moderato/llm/request.hpp>

namespace moderato {

/// The only retry policy there is. Retrying happens inside Model, each attempt takes its own
/// permit.
struct RetryOptions {
  int max_attempts = 4;  ///< ≥ 1; 1: no retry.
  /// Without a hint of the provider the delay before attempt n+1 is drawn from
  /// [0, min(max_delay, base_delay · 2ⁿ⁻¹)] (full jitter).
  Duration base_delay = std::chrono::milliseconds(1000);
  Duration max_delay = std::chrono::seconds(30);
  /// A provider's wish to wait longer than this is not slept: the call fails, and its error says
  /// `retry_after`.
  Duration max_hold = std::chrono::seconds(120);
};

struct ModelOptions;

/// The context window of a model by its public name ("gpt-4o-mini-2024-07-18" is found as
/// "gpt-4o"); nullopt for a name that is not known.
[[nodiscard]] std::optional<std::int64_t> known_context_window(std::string_view model) noexcept;

/// A model that can be asked: provider + limiter + retry + budget + cache, behind the one door. A
/// cheap handle that many agents and threads share. Thread safe. Must not outlive its runtime.
class Model {
 public:
  /// No model; complete() on it is a configuration error.
  Model() = default;
  [[nodiscard]] explicit operator bool() const noexcept { return core_ != nullptr; }

  /// Asks the model. The order is fixed: cache → budget → permit → send → settle → classify →
  /// retry. Every attempt leaves one record in the ledger. Suspends the fiber (or blocks the
  /// thread). Errors are those of ErrorCode; nothing is thrown.
  [[nodiscard]] Result<ModelReply> complete(const ModelRequest& request,
                                            const CallContext& context = {}) const;

  // These throw std::logic_error if there is no model.
  [[nodiscard]] Runtime& runtime() const;
  [[nodiscard]] const ModelOptions& options() const;
  [[nodiscard]] Limiter& limiter() const;
  /// Upper bound of the prompt's tokens, as a hard budget reserves it.
  [[nodiscard]] std::int64_t prompt_upper_bound(const ModelRequest& request) const;

  /// What the prompt will roughly take, by a rule that learns nothing: the same in every run, so
  /// that a replay decides as the run did.
  [[nodiscard]] std::int64_t rough_prompt_tokens(const ModelRequest& request) const;
  /// Of the options, else of the model's name; nullopt: not known.
  [[nodiscard]] std::optional<std::int64_t> context_window() const;
  /// The output cap of a request: its own, the model's, or default_max_output_tokens.
  [[nodiscard]] std::int64_t output_cap(const ModelRequest& request) const;

  [[nodiscard]] std::string_view name() const noexcept;      ///< As configured.
  [[nodiscard]] std::string_view provider() const noexcept;  ///< "openai", …

 private:
  friend class Runtime;
  class Core;
  explicit Model(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  [[nodiscard]] Core& core() const;
  std::shared_ptr<Core> core_;
};

struct ModelOptions {
  /// How calls are limited. Left out: the safe default (see adaptive()).
  Limiter limiter{};
  RetryOptions retry{};
  /// For cost; nullopt: cost is 0.
  std::optional<Price> price{};
  /// Settings for every call; a request's own settings win one by one.
  Sampling sampling{};
  /// Tokens that are reserved for a reply when neither the request nor `sampling` has
  /// max_output_tokens; ≥ 1. Under a token budget it is sent as the cap, too. Without one it is
  /// only what the quota is asked for, and that only until eight replies have shown how long they
  /// are (their mean and two deviations, if that is less). A reply may be longer: the quota then
  /// waits until it is paid.
  std::int64_t default_max_output_tokens = 1024;
  /// Most tokens of prompt and reply together that the model takes. Unset: what is known of models
  /// by their name (known_context_window), else none until the provider refuses a prompt.
  std::optional<std::int64_t> context_window{};
  /// Sends that cap also without a budget, so that no reply takes more than the quota was asked
  /// for.
  bool always_send_output_cap = false;
  /// Asked before the model: a reply that was given before costs nothing. A cache of the chat or of
  /// the session goes before this one. Null: none.
  std::shared_ptr<ReplyCache> cache{};
  /// Asked in this order when a call has failed for good, after its retries: models of the same
  /// runtime, with options of their own. They are not asked after a stop, beyond a deadline,
  /// without budget, after content_filtered, or when a part of the reply has already been streamed.
  std::vector<Model> fallbacks{};
  /// Whether a reply is good enough; if not, the next of `fallbacks` is asked, and the last one's
  /// reply is taken as it is. Every reply is paid for. Must give the same answer to the same reply.
  /// Not asked about a reply of which a part has been streamed: what was heard is not taken back.
  std::function<bool(const ModelReply&)> accept{};
  /// Time limit of one logical call, waits and retries included; 0: none.
  Duration call_timeout{0};
};

}  // namespace moderato
