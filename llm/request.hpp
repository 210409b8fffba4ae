#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <moderato/core/json.hpp>
#include <moderato/core/message.hpp>
#include <moderato/core/usage.hpp>

namespace moderato {

/// A tool as a model sees it: a name, words, and a JSON Schema for its arguments.
struct ToolDefinition {
  std::string name{};  ///< ^[a-zA-Z0-9_-]{1,64}$
  std::string description{};
  Json parameters{};    ///< JSON Schema of type object; null: no arguments.
  bool strict = false;  ///< Ask the provider to enforce the schema.
  bool operator==(const ToolDefinition&) const = default;
};

/// Tools are shared by all requests of an agent, so that they are serialised once.
using ToolList = std::shared_ptr<const std::vector<ToolDefinition>>;

/// Settings of a call that the provider understands. Unset ones are not sent.
struct Sampling {
  std::optional<double> temperature{};
  std::optional<double> top_p{};
  std::vector<std::string> stop{};
  std::optional<std::int64_t> seed{};
  /// Most tokens of the reply that the caller wants; the budget may lower it further.
  std::optional<std::int64_t> max_output_tokens{};
  Json response_format{};  ///< Sent as it is; null: not sent.
  std::optional<bool> parallel_tool_calls{};
  std::string reasoning_effort{};
  /// "auto", "none", "required", or the name of a tool; empty: not sent.
  std::string tool_choice{};
  /// Further members of the request body, sent as they are (an object, or null).
  Json extra{};
};

/// How far a list of messages has been read.
struct PromptMark {
  MessagePtr first{};
  MessagePtr last{};
  std::size_t messages = 0;

  /// True if the list is the one that was read, or that one and more.
  [[nodiscard]] bool begins(const MessageList& list) const noexcept {
    return messages > 0 && messages <= list.size() && list.front() == first &&
           list[messages - 1] == last;
  }
  void set(const MessageList& list) {
    messages = list.size();
    first = list.empty() ? nullptr : list.front();
    last = list.empty() ? nullptr : list.back();
  }
};

/// What the parts of a model keep of a list of messages that only grows, so that a call costs what
/// was added since the last one, however long the list is. Owned by whoever owns the list. One call
/// at a time may use it; its contents are the model's affair.
struct PromptMemory {
  struct Size {
    std::uint64_t identity = 0;
    std::int64_t text_bytes = 0;
    std::int64_t expected_fixed = 0;
    std::int64_t bound_fixed = 0;
  };
  /// The list as it was measured last, and the longest part of it whose tokens were known then.
  PromptMark measured{};
  std::uint64_t start = 0;  ///< Identity of what comes before the messages.
  Size whole{};
  Size known{};
  std::int64_t known_tokens = 0;
  std::size_t known_messages = 0;

  /// The last request's body, up to and with the newest message in its first `body_bytes`.
  PromptMark written{};
  const void* dialect = nullptr;
  std::string body{};
  std::size_t body_bytes = 0;
};

/// What to ask a model.
struct ModelRequest {
  MessageList messages{};
  ToolList tools{};
  Sampling sampling{};
  /// Called with each piece of text as it arrives; set: the reply is streamed.
  std::function<void(std::string_view)> on_delta{};
  /// Streams even without on_delta (TokenDelta events).
  bool stream = false;
  /// Allows a retry after pieces have already been given to on_delta (they start again).
  bool retry_after_first_token = false;

  /// The memory of `messages`, lent for the call; null: nothing is kept.
  PromptMemory* memory = nullptr;

  [[nodiscard]] bool streamed() const noexcept { return stream || on_delta; }
};

/// What the model answered.
struct ModelReply {
  Message message{};            ///< Role assistant.
  std::string finish_reason{};  ///< "stop", "length", "tool_calls", "content_filter", …
  Usage usage{};
  double cost = 0.0;
  std::string model{};  ///< As the provider names it.
  std::string request_id{};
  int attempts = 1;     ///< Requests sent for this reply; 0: none, it came from a cache.
  bool cached = false;  ///< `usage` is what it took when it was asked for; nothing is charged.
  Duration queue_wait{};
  Duration latency{};
  std::optional<Duration> time_to_first_token{};
};

}  // namespace moderato
