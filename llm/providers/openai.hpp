#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <moderato/core/secret.hpp>
#include <moderato/core/time.hpp>
#include <moderato/llm/provider.hpp>

namespace moderato {

/// Which member of the request carries the output cap.
enum class OutputCapField : std::uint8_t {
  automatic,  ///< max_completion_tokens for api.openai.com, max_tokens for any other server.
  max_completion_tokens,
  max_tokens,
};

/// An endpoint that speaks OpenAI's chat completions: OpenAI itself, or any server with the same
/// API (vLLM, Ollama, llama.cpp, Groq, Mistral, Azure, …). The library reads no environment: pass
/// the key.
struct OpenAIOptions {
  std::string model{};
  /// http or https. "/chat/completions" is appended to its path; a query (Azure's api-version)
  /// stays.
  std::string base_url = "https://api.openai.com/v1";
  /// Sent as a bearer token; empty: no Authorization header (an error for api.openai.com).
  Secret api_key{};
  std::string organization{};  ///< OpenAI-Organization; empty: not sent.
  std::string project{};       ///< OpenAI-Project; empty: not sent.
  /// Further headers of every request. Their values appear in no text of ours.
  std::vector<std::pair<std::string, std::string>> headers{};

  OutputCapField output_cap_field = OutputCapField::automatic;
  /// Asks for a usage chunk at the end of a stream (stream_options.include_usage). Turn it off for
  /// servers that refuse it; streams are then charged by estimate.
  bool stream_usage = true;
  /// Sends the speakers' names (the `name` of a message); some servers refuse it.
  bool send_names = true;

  // Limits of one attempt; 0: none.
  Duration connect_timeout = std::chrono::seconds(10);
  Duration first_byte_timeout = std::chrono::seconds(300);
  Duration silence_timeout = std::chrono::seconds(60);  ///< Between two pieces of the answer.
  Duration total_timeout = std::chrono::seconds(600);
  std::size_t max_response_bytes = 32UL * 1024 * 1024;

  /// Certificates to trust, a PEM file; empty: the system's. Certificates are always verified.
  std::string ca_file{};
  /// "http://host:port", "socks5h://…"; empty: none; "environment": as libcurl finds it in
  /// https_proxy, no_proxy and so on.
  std::string proxy{};
};

/// Nothing is thrown for wrong options: every call of the model is then a `configuration` error (or
/// `authentication` without a key for api.openai.com) that says what to change, and nothing is
/// sent.
[[nodiscard]] ModelProvider openai(OpenAIOptions options);

}  // namespace moderato
