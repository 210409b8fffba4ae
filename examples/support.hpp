#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <memory>
#include <moderato/moderato.hpp>
#include <string>

#include "offline_script.hpp"
#include "provider_server.hpp"

namespace example {

/// Where the examples' models are. With OPENAI_API_KEY or OPENAI_BASE_URL set: that endpoint, and
/// the model OPENAI_MODEL. Else a simulated provider that plays offline_script over HTTP on
/// loopback, in this process.
class Endpoint {
 public:
  /// The arguments are the simulated provider's.
  explicit Endpoint(moderato::LatencyLaw latency = {}, moderato::SimulatedQuotaOptions quota = {}) {
    if (!environment("OPENAI_API_KEY").empty() || !environment("OPENAI_BASE_URL").empty()) {
      fmt::print("Model: {} at {}\n\n", model("").model, model("").base_url);
      return;
    }
    moderato::ProviderServerOptions options;
    options.engine.script = moderato::SimulatedScript::from_json(offline_script).value();
    options.engine.latency = latency;
    options.engine.quota = quota;
    offline_ = std::make_unique<moderato::ProviderServer>(options);
    fmt::print("Model: simulated, at {} (set OPENAI_API_KEY for a real one)\n\n",
               offline_->base_url());
  }

  /// A model of this endpoint. `part`: whom the simulated provider plays.
  [[nodiscard]] moderato::OpenAIOptions model(const std::string& part) const {
    if (offline_) return {.model = part, .base_url = offline_->base_url()};
    moderato::OpenAIOptions options{.model = environment("OPENAI_MODEL", "gpt-4o-mini"),
                                    .api_key = environment("OPENAI_API_KEY")};
    options.base_url = environment("OPENAI_BASE_URL", options.base_url);
    return options;
  }

 private:
  static std::string environment(const char* name, const std::string& otherwise = {}) {
    const char* value = std::getenv(name);
    return value == nullptr || *value == '\0' ? otherwise : value;
  }

  std::unique_ptr<moderato::ProviderServer> offline_;
};

/// "1.25 s".
inline std::string seconds(moderato::Duration duration) {
  return fmt::format("{:.2f} s", std::chrono::duration<double>(duration).count());
}

}  // namespace example
