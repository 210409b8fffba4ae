#include <moderato/core/transcript.hpp>

#include <fmt/format.h>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<MessageKind, 7> kind_names{
    {"task", "reply", "tool_call", "tool_result", "code_result", "human", "default_reply"}};

}  // namespace

std::string_view to_string(MessageKind kind) noexcept {
  return kind_names.name_of(kind);
}

std::optional<MessageKind> message_kind_from_string(std::string_view name) noexcept {
  return kind_names.value_of(name);
}

Json to_json(const TranscriptEntry& entry) {
  return {{"speaker", entry.speaker},
          {"recipient", entry.recipient},
          {"kind", std::string(to_string(entry.kind))},
          {"at", std::chrono::duration<double>(entry.at.time_since_epoch()).count()},
          {"message", to_json(**entry.message)}};
}

Json to_json(const Transcript& transcript) {
  Json json = Json::array();
  for (const TranscriptEntry& entry : transcript) json.push_back(to_json(entry));
  return json;
}

std::string to_text(const Transcript& transcript) {
  std::string text;
  for (const TranscriptEntry& entry : transcript) {
    const Message& message = **entry.message;
    text += fmt::format("{} (to {}):\n", entry.speaker, entry.recipient);
    if (const std::string content = message.text(); !content.empty()) text += content + "\n";
    for (const ToolCall& call : message.tool_calls) {
      text += fmt::format("[calls {}({})]\n", call.name, call.arguments);
    }
    if (message.function_call) {
      text += fmt::format("[calls {}({})]\n", message.function_call->name,
                          message.function_call->arguments);
    }
    text += "\n";
  }
  return text;
}

}  // namespace moderato
