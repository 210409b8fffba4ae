#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>

#include <moderato/llm/per_tool_list.hpp>
#include <moderato/llm/request.hpp>

namespace moderato {

/// How many text tokens the prompt of a request takes, as far as it can be known before it is sent.
struct PromptSize {
  /// The best guess. With known history: what it was measured at + the guess for what was added.
  std::int64_t expected = 0;
  /// Never less than the real number for a byte-level tokenizer. For hard budgets.
  std::int64_t upper_bound = 0;
  /// Names the prompt by its content (messages, tools, response format): the same in every process.
  std::uint64_t identity = 0;
  /// Of the whole prompt: bytes of text, and expected tokens that do not depend on the text.
  std::int64_t text_bytes = 0;
  std::int64_t fixed_tokens = 0;
};

/// Counts the prompt tokens of a request without a tokenizer, and learns from what providers
/// report. One per Model. Thread safe.
class TokenEstimator {
 public:
  /// Expected: bytes / 4 × calibration + 4 a message, 800 an image, 8 a tool.
  /// Upper bound: one token a byte of all that is sent as text + 16 a message or call, 4096 an
  /// image (some models count a picture higher), 32 a tool, 64 for what a server's template adds.
  /// If the provider has measured a prompt that this one begins with (as it has in a conversation
  /// that goes on), both count only what was added to it: see token_estimator.cpp.
  /// Where the request lends a memory of its messages, only those added since are looked at.
  /// `sampling`: the settings that are sent (they may hold a schema or tools in `extra`).
  [[nodiscard]] PromptSize measure(const ModelRequest& request, const Sampling& sampling) const;
  [[nodiscard]] PromptSize measure(const ModelRequest& request) const {
    return measure(request, request.sampling);
  }

  /// The provider counted `tokens` for the prompt that measure() gave `size` for. Remembers the
  /// prompt and moves the calibration (exponential average, weight 0.1, within [0.5, 3]).
  void learn(const PromptSize& size, std::int64_t tokens);
  [[nodiscard]] double calibration() const;

  /// Tokens of a text by the uncalibrated rule: for streams without a usage chunk.
  [[nodiscard]] static std::int64_t of_text(std::string_view text) noexcept;
  /// The same for the text, the calls and the refusal of a reply.
  [[nodiscard]] static std::int64_t of_reply(const Message& message);

 private:
  struct ToolFacts {
    std::uint64_t fingerprint = 0;
    std::int64_t text_bytes = 0;
  };
  [[nodiscard]] PromptMemory::Size beginning(const ModelRequest& request,
                                             const Sampling& sampling) const;
  [[nodiscard]] PromptSize size_of(const PromptMemory& memory) const;
  [[nodiscard]] std::optional<std::int64_t> measured(std::uint64_t identity) const;

  mutable PerToolList<ToolFacts> tools_;
  mutable std::mutex mutex_;
  double calibration_ = 1.0;
  // Measured tokens by identity; when the first is full the second is forgotten.
  std::unordered_map<std::uint64_t, std::int64_t> recent_;
  std::unordered_map<std::uint64_t, std::int64_t> older_;
};

}  // namespace moderato
