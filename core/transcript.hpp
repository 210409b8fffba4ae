#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/json.hpp>
#include <moderato/core/message.hpp>
#include <moderato/core/time.hpp>

namespace moderato {

/// What a message of a conversation is, seen from the conversation. Termination conditions use it
/// to tell an agent's own final words from the task, tool output and code output.
enum class MessageKind : std::uint8_t {
  task,          ///< The opening message, carryover included.
  reply,         ///< A model's (or a custom reply function's) text.
  tool_call,     ///< A message that asks for tools.
  tool_result,   ///< What tools answered.
  code_result,   ///< What executed code printed.
  human,         ///< Typed by a person.
  default_reply  ///< `default_auto_reply`.
};

[[nodiscard]] std::string_view to_string(MessageKind kind) noexcept;
[[nodiscard]] std::optional<MessageKind> message_kind_from_string(std::string_view name) noexcept;

/// One message as it was said: who, to whom, what kind, when.
struct TranscriptEntry {
  std::string speaker{};
  std::string recipient{};
  MessageKind kind = MessageKind::reply;
  MessagePtr message{};  ///< Never null. Role and name are those of the speaker's side.
  Instant at{};          ///< Session time.
};

/// The conversation in the order in which it was said, one entry a message (not one a side).
using Transcript = std::vector<TranscriptEntry>;

[[nodiscard]] Json to_json(const TranscriptEntry& entry);
[[nodiscard]] Json to_json(const Transcript& transcript);
/// Plain text: "speaker: text" blocks, calls and results written out.
[[nodiscard]] std::string to_text(const Transcript& transcript);

}  // namespace moderato
