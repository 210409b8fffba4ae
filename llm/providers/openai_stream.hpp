#pragma once

// Private header of the library: not installed.

#include <simdjson.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/result.hpp>
#include <moderato/llm/http/sse_parser.hpp>
#include <moderato/llm/provider.hpp>
#include <moderato/llm/providers/openai_response.hpp>

namespace moderato {

/// Puts a streamed reply together from the events of the stream. One for each attempt.
class OpenAIStream {
 public:
  static constexpr std::size_t max_calls = 256;

  /// Takes the secrets out of a text.
  using Redact = std::function<std::string(std::string)>;

  /// `on_text` gets each piece of text; may be empty. What errors quote passes `redact` before it
  /// is cut (half a key would not be known any more).
  explicit OpenAIStream(
      std::function<void(std::string_view)> on_text,
      Redact redact = [](std::string text) { return text; })
      : on_text_(std::move(on_text)), redact_(std::move(redact)) {}

  /// Takes one event. Errors: what an error in mid-stream means; protocol (not JSON, too many
  /// calls).
  [[nodiscard]] Result<void> take(const SseEvent& event);

  /// Something of the reply (text, a call, a refusal) has come.
  [[nodiscard]] bool started() const noexcept { return started_; }
  /// The reply is whole: a choice and [DONE] came, or a finish_reason did and after it at most
  /// usage is missing.
  [[nodiscard]] bool complete() const noexcept {
    return (done_ && has_choice_) || !reply_.finish_reason.empty();
  }
  [[nodiscard]] std::size_t text_bytes() const noexcept { return text_.size(); }

  /// The end of the stream: fills outcome.reply (unless `broken` says why the stream broke off, and
  /// it was not complete by then), usage_so_far, and what an error said about the quota.
  void finish(Result<void> broken, ProviderOutcome& outcome);

 private:
  struct Call {
    std::int64_t index;
    ToolCall call;
  };
  [[nodiscard]] Result<void> take_delta(const OpenAIJson& delta);
  [[nodiscard]] Result<void> take_call(const OpenAIJson& delta);
  [[nodiscard]] Call* find_call(const OpenAIJson& index, std::string_view id);

  std::function<void(std::string_view)> on_text_;
  Redact redact_;
  simdjson::dom::parser parser_;
  ModelReply reply_{};
  std::string text_;
  std::vector<Call> calls_;
  QuotaSignal quota_{};
  bool has_choice_ = false;
  bool has_text_ = false;
  bool started_ = false;
  bool done_ = false;
};

}  // namespace moderato
