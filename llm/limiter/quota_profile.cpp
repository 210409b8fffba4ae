#include <moderato/llm/limiter/quota_profile.hpp>

#include <array>

namespace moderato {

std::optional<QuotaProfile> quota_profile(std::string_view name) noexcept {
  static constexpr std::array all{profiles::generic,    profiles::openai,  profiles::azure,
                                  profiles::anthropic,  profiles::gemini,  profiles::mistral,
                                  profiles::groq,       profiles::bedrock, profiles::deepseek,
                                  profiles::self_hosted};
  for (const QuotaProfile& profile : all) {
    if (profile.name == name) return profile;
  }
  for (const std::string_view server : {"ollama", "vllm", "llama-server"}) {
    if (server == name) return profiles::self_hosted;
  }
  return std::nullopt;
}

}  // namespace moderato
