#pragma once

// Private header of the library: not installed.

#include <string>

#include <moderato/core/result.hpp>
#include <moderato/llm/per_tool_list.hpp>
#include <moderato/llm/provider.hpp>
#include <moderato/llm/providers/openai.hpp>

namespace moderato {

/// Where requests go, made and checked once.
struct OpenAIEndpoint {
  std::string url;   ///< Of chat completions.
  std::string host;  ///< In lower case, without port.
};
/// Errors: configuration (not http or https, no host, a user name, a fragment, blanks or controls).
[[nodiscard]] Result<OpenAIEndpoint> openai_endpoint(const std::string& base_url);

/// The rule for names of speakers and functions: other characters than [a-zA-Z0-9_-] become "_",
/// and the rest after 64 is cut.
[[nodiscard]] std::string openai_name(std::string_view name);

/// Appends one message as it is sent, or several with commas between them where the message answers
/// several calls.
void append_openai_message(std::string& out, const Message& message, bool with_name);

/// Writes the bodies of chat completions requests. Each message and each list of tools is
/// serialised once; a body is the splice of those bytes. Thread safe.
class OpenAIRequestWriter {
 public:
  struct Options {
    std::string model;
    bool max_completion_tokens = true;  ///< Else max_tokens.
    bool stream_usage = true;
    bool send_names = true;
  };
  explicit OpenAIRequestWriter(Options options);

  /// Errors: invalid_request (a member of `extra` that has a field of its own, a number that JSON
  /// does not have). A request that lends a memory wants the body back after use: keep().
  [[nodiscard]] Result<std::string> body(const ProviderRequest& request);
  /// Keeps the body that was made for the request where the next one finds it.
  static void keep(const ProviderRequest& request, std::string body);

 private:
  [[nodiscard]] std::string messages_text(const ModelRequest& request) const;
  void append_tools(std::string& out, const ModelRequest& request, const Sampling& sampling);

  const Options options_;
  std::string start_;  // of every body
  PerToolList<std::string> tools_;
};

}  // namespace moderato
