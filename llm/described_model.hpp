#pragma once

#include <functional>
#include <string>
#include <vector>

#include <moderato/core/json.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/core/secret.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/llm/providers/openai.hpp>

namespace moderato {

/// What a model needs that is described in a file.
struct DescribedModelOptions {
  /// The key in the environment variable that a description names in `api_key_env`. Left out:
  /// there are no keys, as the library reads no environment.
  std::function<Secret(const std::string& variable)> key{};
  /// Another provider (a simulated one, say). Left out: openai(options).
  std::function<ModelProvider(const OpenAIOptions& options)> provider{};
  /// The model is made and never asked: no provider, no limiter is opened.
  bool only_check = false;
};

/// A model from its description: `model`, `base_url`, `api_key_env`, `limits`, `price`, `sampling`,
/// `context_window`, `max_attempts` (docs/workflow.schema.json says what is in them). Members of
/// other types than the schema's, values that make no sense and limiters that cannot be opened are
/// thrown: Json::exception, std::invalid_argument, std::runtime_error.
[[nodiscard]] Model described_model(Runtime& runtime, const Json& description,
                                    const DescribedModelOptions& options = {},
                                    std::vector<Model> fallbacks = {});

/// `sampling` of a description (of a model or of an agent); empty where it has none.
[[nodiscard]] Sampling described_sampling(const Json& description);

}  // namespace moderato
