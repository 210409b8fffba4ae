#include <moderato/llm/described_model.hpp>

#include <stdexcept>

#include <moderato/llm/limiter/backends/redis.hpp>
#include <moderato/llm/limiter/backends/shared_host.hpp>
#include <moderato/llm/providers/scripted.hpp>

namespace moderato {
namespace {

/// Reads the member into `into` if it is there.
template <class T>
void read(const Json& json, const char* member, T& into) {
  if (const auto found = json.find(member); found != json.end()) into = found->get<T>();
}
template <class T>
void read(const Json& json, const char* member, std::optional<T>& into) {
  if (const auto found = json.find(member); found != json.end()) into = found->get<T>();
}

Limiter limiter_of(const Json& limits) {
  QuotaOptions quota_options;
  read(limits, "requests_per_minute", quota_options.requests_per_minute);
  read(limits, "tokens_per_minute", quota_options.tokens_per_minute);
  read(limits, "input_tokens_per_minute", quota_options.input_tokens_per_minute);
  read(limits, "output_tokens_per_minute", quota_options.output_tokens_per_minute);
  read(limits, "requests_per_day", quota_options.requests_per_day);
  read(limits, "tokens_per_day", quota_options.tokens_per_day);
  read(limits, "max_in_flight", quota_options.max_in_flight);
  read(limits, "money_per_minute", quota_options.money_per_minute);
  read(limits, "money_per_day", quota_options.money_per_day);
  read(limits, "name", quota_options.name);
  if (const auto file = limits.find("shared_host"); file != limits.end()) {
    return shared_host(file->get<std::string>(), quota_options);
  }
  if (const auto url = limits.find("redis"); url != limits.end()) {
    RedisOptions where{.url = url->get<std::string>()};
    read(limits, "name", where.name);
    return redis(where, quota_options);
  }
  return quota(quota_options);
}

ModelProvider provider_of(const Json& json, const DescribedModelOptions& options) {
  if (options.only_check) return scripted(std::vector<ScriptedReply>());
  OpenAIOptions endpoint;
  read(json, "model", endpoint.model);
  read(json, "base_url", endpoint.base_url);
  if (const auto variable = json.find("api_key_env"); variable != json.end() && options.key) {
    endpoint.api_key = options.key(variable->get<std::string>());
  }
  return options.provider ? options.provider(endpoint) : openai(endpoint);
}

}  // namespace

Sampling described_sampling(const Json& json) {
  Sampling sampling;
  const auto found = json.find("sampling");
  if (found == json.end()) return sampling;
  read(*found, "temperature", sampling.temperature);
  read(*found, "top_p", sampling.top_p);
  read(*found, "seed", sampling.seed);
  read(*found, "max_output_tokens", sampling.max_output_tokens);
  read(*found, "reasoning_effort", sampling.reasoning_effort);
  read(*found, "stop", sampling.stop);
  read(*found, "extra", sampling.extra);
  return sampling;
}

Model described_model(Runtime& runtime, const Json& description,
                      const DescribedModelOptions& options, std::vector<Model> fallbacks) {
  ModelOptions how{.sampling = described_sampling(description), .fallbacks = std::move(fallbacks)};
  if (options.only_check) how.limiter = unlimited();
  if (const auto limits = description.find("limits"); limits != description.end()) {
    if (limits->contains("shared_host") && limits->contains("redis")) {
      throw std::invalid_argument("limits: a quota is shared by shared_host or by redis");
    }
    if (!options.only_check) how.limiter = limiter_of(*limits);
  }
  if (const auto price = description.find("price"); price != description.end()) {
    how.price = Price{.input_per_million = price->at("input_per_million").get<double>(),
                      .output_per_million = price->at("output_per_million").get<double>()};
    read(*price, "cached_input_per_million", how.price->cached_input_per_million);
  }
  read(description, "context_window", how.context_window);
  read(description, "max_attempts", how.retry.max_attempts);
  return runtime.model(provider_of(description, options), std::move(how));
}

}  // namespace moderato
