#include <moderato/llm/model.hpp>

#include <stdexcept>
#include <utility>

#include <moderato/llm/model_core.hpp>

namespace moderato {

Model Runtime::model(ModelProvider provider, ModelOptions options) {
  return Model(std::make_shared<Model::Core>(*this, provider.make(*this), std::move(options)));
}

Model Runtime::model(ModelProvider provider) {
  return model(std::move(provider), {});
}

Result<ModelReply> Model::complete(const ModelRequest& request, const CallContext& context) const {
  if (!core_) {
    return fail(ErrorCode::configuration, "there is no model: make one with runtime.model(…)");
  }
  return core_->runtime().block_on([&] { return core_->complete(request, context); });
}

Model::Core& Model::core() const {
  if (!core_) throw std::logic_error("an empty moderato::Model was asked for its parts");
  return *core_;
}

Runtime& Model::runtime() const {
  return core().runtime();
}
const ModelOptions& Model::options() const {
  return core().options();
}
Limiter& Model::limiter() const {
  return core().limiter();
}

std::string_view Model::name() const noexcept {
  return core_ ? core_->provider().model() : std::string_view();
}
std::string_view Model::provider() const noexcept {
  return core_ ? core_->provider().name() : std::string_view();
}
std::int64_t Model::prompt_upper_bound(const ModelRequest& request) const {
  return core().prompt_upper_bound(request);
}

}  // namespace moderato
