#include <moderato/llm/model.hpp>

#include <array>
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

std::int64_t Model::rough_prompt_tokens(const ModelRequest& request) const {
  return core().rough_prompt_tokens(request);
}
std::optional<std::int64_t> Model::context_window() const {
  return core().context_window();
}
std::int64_t Model::output_cap(const ModelRequest& request) const {
  if (request.sampling.max_output_tokens) return *request.sampling.max_output_tokens;
  return options().sampling.max_output_tokens.value_or(options().default_max_output_tokens);
}

// As the vendors publish them. The longest prefix counts, so a dated name is found, too.
std::optional<std::int64_t> known_context_window(std::string_view model) noexcept {
  struct Window {
    std::string_view prefix;
    std::int64_t tokens;
  };
  static constexpr std::array windows{Window{"gpt-3.5-turbo", 16'385},
                                      Window{"gpt-4", 8'192},
                                      Window{"gpt-4-32k", 32'768},
                                      Window{"gpt-4-turbo", 128'000},
                                      Window{"gpt-4-1106", 128'000},
                                      Window{"gpt-4-0125", 128'000},
                                      Window{"gpt-4o", 128'000},
                                      Window{"gpt-4.1", 1'047'576},
                                      Window{"gpt-5", 400'000},
                                      Window{"o1", 200'000},
                                      Window{"o1-mini", 128'000},
                                      Window{"o3", 200'000},
                                      Window{"o4-mini", 200'000},
                                      Window{"claude-", 200'000},
                                      Window{"deepseek-chat", 64'000},
                                      Window{"deepseek-reasoner", 64'000},
                                      Window{"mistral-large", 128'000},
                                      Window{"llama-3.1", 128'000},
                                      Window{"llama3.1", 128'000},
                                      Window{"gemini-1.5-pro", 2'097'152},
                                      Window{"gemini-1.5-flash", 1'048'576},
                                      Window{"gemini-2", 1'048'576}};
  const Window* best = nullptr;
  for (const Window& window : windows) {
    const bool longer = best == nullptr || window.prefix.size() > best->prefix.size();
    if (longer && model.starts_with(window.prefix)) best = &window;
  }
  return best != nullptr ? std::optional(best->tokens) : std::nullopt;
}

}  // namespace moderato
