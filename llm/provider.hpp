#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/call_context.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/llm/reached.hpp>
#include <moderato/llm/request.hpp>

namespace moderato {

/// One line of what a provider said about its quota in the headers of a response
/// (`x-ratelimit-{limit,remaining,reset}-<dimension>`). Absent values were not said.
struct QuotaHeader {
  std::string dimension{};  ///< "requests", "tokens", … as the provider spells it.
  std::optional<std::int64_t> limit{};
  std::optional<std::int64_t> remaining{};
  std::optional<Duration> reset{};  ///< Until the dimension is full again.
};

/// The state of one dimension as a 429's text gives it: "Limit 200000, Used 193762, Requested
/// 7653".
struct QuotaState {
  std::string dimension{};  ///< "requests", "tokens", …; empty if the text did not say.
  std::int64_t limit = 0;
  std::int64_t used = 0;
  std::int64_t requested = 0;
};

/// What a response, good or bad, said about the quota.
struct QuotaSignal {
  std::vector<QuotaHeader> headers{};
  std::optional<QuotaState> state{};
  /// The provider's wish for the next try, from now: retry-after-ms, retry-after, or its text.
  std::optional<Duration> retry_after{};
  /// `x-should-retry`.
  std::optional<bool> should_retry{};
};

/// The outcome of one attempt, good or bad, with all that the limiter and the ledger want to know.
struct ProviderOutcome {
  Result<ModelReply> reply = fail(ErrorCode::internal, "no outcome");
  QuotaSignal quota{};
  Reached reached = Reached::nothing;
  int http_status = 0;
  std::string request_id{};
  std::optional<Duration> time_to_first_token{};
  /// Tokens that certainly were used although the attempt failed (a cut stream's usage so far).
  std::optional<Usage> usage_so_far{};
};

/// One attempt, as a provider gets it. `max_output_tokens` is the cap that must be sent.
struct ProviderRequest {
  const ModelRequest& request;
  std::optional<std::int64_t> max_output_tokens{};
  /// Called for each piece of streamed text; null if the reply is not streamed.
  std::function<void(std::string_view)> on_delta{};
  int attempt = 1;
  /// Of a pool's deployments, the one to send to; 0 otherwise.
  std::size_t deployment = 0;
  /// The request's settings completed by the Model's own; null: the request's are all there are.
  const Sampling* completed_sampling = nullptr;

  /// The settings to send. (Its max_output_tokens is a wish; the cap to send is the one above.)
  [[nodiscard]] const Sampling& sampling() const noexcept {
    return completed_sampling != nullptr ? *completed_sampling : request.sampling;
  }
};

/// A wire dialect (and nothing more): turns a request into bytes, sends them once, and reads the
/// answer. It never retries, limits, caches or waits for a quota. Only Model calls it.
class Provider {
 public:
  virtual ~Provider() = default;

  /// One attempt; suspends the fiber. Honours context.stop and context.deadline. Failures are in
  /// the outcome; it does not throw. Thread safe.
  virtual ProviderOutcome send(const ProviderRequest& request, const CallContext& context) = 0;

  /// "openai", "scripted", "simulated", …
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  /// The model that is asked, as configured.
  [[nodiscard]] virtual std::string_view model() const noexcept = 0;
  /// Names the quota that calls share: endpoint, a fingerprint of the key, model. No secret in it.
  [[nodiscard]] virtual std::string quota_key() const = 0;
};

/// A provider that will live on a runtime: what `openai({...})`, `scripted({...})` and
/// `simulated({...})` return, and what `runtime.model(...)` takes. Copyable; made once per Model.
class ModelProvider {
 public:
  using Make = std::function<std::unique_ptr<Provider>(Runtime&)>;
  ModelProvider(Make make) : make_(std::move(make)) {}  // NOLINT
  [[nodiscard]] std::unique_ptr<Provider> make(Runtime& runtime) const { return make_(runtime); }

 private:
  Make make_;
};

}  // namespace moderato
