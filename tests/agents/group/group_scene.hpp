#pragma once

#include <moderato/agents/group/group_chat_manager.hpp>

#include "../scene.hpp"

namespace moderato::scene {

/// An assistant that always says "NAME speaks".
inline AssistantAgent speaker(Runtime& runtime, const std::string& name) {
  return AssistantAgent({.name = name,
                         .description = "role of " + name,
                         .model = repeats(runtime, name + " speaks"),
                         .max_consecutive_auto_reply = 1000});
}

/// A participant that never asks anybody and says nothing of its own.
inline UserProxyAgent quiet(const std::string& name) {
  return UserProxyAgent({.name = name, .human_input_mode = HumanInputMode::never});
}

inline GroupChatManager lead(GroupChat chat, Model model = {}) {
  return GroupChatManager(
      {.group_chat = std::move(chat), .name = "boss", .model = std::move(model)});
}

/// Nothing is a loop: the scripts repeat themselves.
inline ChatOptions calm(ChatOptions options = {}) {
  options.repetition = {.report_after = 0, .stop_after = 0};
  return options;
}

/// Who spoke, in order.
inline Lines speakers(const Transcript& transcript) {
  Lines lines;
  for (const TranscriptEntry& entry : transcript) lines.push_back(entry.speaker);
  return lines;
}

}  // namespace moderato::scene
