#pragma once

#include <vector>

#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/provider.hpp>

namespace moderato {

/// One way to reach a model: a key, a region, a deployment, with the quota that belongs to it.
struct Deployment {
  ModelProvider provider;
  Limiter limiter{};
};

/// Several deployments of one model, used as one: give both parts to `runtime.model`.
///
///     const Pool both = pool({{openai({...}), quota({...})}, {openai({...}), quota({...})}});
///     Model model = runtime.model(both.provider, {.limiter = both.limiter});
struct Pool {
  ModelProvider provider;
  Limiter limiter;
};

/// Each attempt goes to the deployment whose limiter expects the least wait, so that a second one
/// is used before anybody waits for the first; a retry begins with another one. The pool's names
/// (of the provider, the model and the quota) are those of the first. Throws std::invalid_argument
/// without any.
[[nodiscard]] Pool pool(std::vector<Deployment> deployments);

}  // namespace moderato
