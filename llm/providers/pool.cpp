#include <memory>
#include <utility>

#include <moderato/llm/providers/pool.hpp>

namespace moderato {
namespace {

class PooledProvider final : public Provider {
 public:
  explicit PooledProvider(std::vector<std::unique_ptr<Provider>> providers)
      : providers_(std::move(providers)) {}

  ProviderOutcome send(const ProviderRequest& request, const CallContext& context) override {
    return providers_.at(request.deployment)->send(request, context);
  }
  [[nodiscard]] std::string_view name() const noexcept override {
    return providers_.front()->name();
  }
  [[nodiscard]] std::string_view model() const noexcept override {
    return providers_.front()->model();
  }
  [[nodiscard]] std::string quota_key() const override { return providers_.front()->quota_key(); }

 private:
  std::vector<std::unique_ptr<Provider>> providers_;
};

}  // namespace

Pool pool(std::vector<Deployment> deployments) {
  std::vector<ModelProvider> providers;
  std::vector<Limiter> limiters;
  for (Deployment& deployment : deployments) {
    providers.push_back(std::move(deployment.provider));
    limiters.push_back(std::move(deployment.limiter));
  }
  Limiter limiter = any_of(std::move(limiters));
  return {.provider = ModelProvider([providers](Runtime& runtime) -> std::unique_ptr<Provider> {
            std::vector<std::unique_ptr<Provider>> made;
            for (const ModelProvider& provider : providers) made.push_back(provider.make(runtime));
            return std::make_unique<PooledProvider>(std::move(made));
          }),
          .limiter = std::move(limiter)};
}

}  // namespace moderato
