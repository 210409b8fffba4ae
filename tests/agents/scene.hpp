#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include <moderato/agents/assistant_agent.hpp>
#include <moderato/agents/party.hpp>
#include <moderato/agents/user_proxy_agent.hpp>
#include <moderato/core/simulation.hpp>
#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/providers/scripted.hpp>
#include <moderato/termination/condition.hpp>

namespace moderato::scene {

/// A model that says these things in order, without a limit and without retries.
inline Model says(Runtime& runtime, std::vector<ScriptedReply> replies,
                  ScriptedOptions options = {}) {
  return runtime.model(scripted(std::move(replies), std::move(options)),
                       {.limiter = unlimited(), .retry = {.max_attempts = 1}});
}

/// A model that says the same thing for ever.
inline Model repeats(Runtime& runtime, std::string text) {
  return says(runtime, {std::move(text)}, {.on_exhausted = OnExhausted::cycle});
}

/// A user who never asks anybody and answers with `default_reply`.
inline UserProxyAgent quiet_user(std::string default_reply = "", std::int64_t cap = 10) {
  return UserProxyAgent({.name = "user",
                         .human_input_mode = HumanInputMode::never,
                         .max_consecutive_auto_reply = cap,
                         .default_auto_reply = Content(std::move(default_reply))});
}

/// A message that calls one tool.
inline Message calls(std::string tool, std::string arguments, std::string id = "call_1") {
  Message message{.role = Role::assistant};
  message.tool_calls.push_back({std::move(id), std::move(tool), std::move(arguments)});
  return message;
}

using Lines = std::vector<std::string>;

/// "speaker: text" for each message.
inline Lines spoken(const Transcript& transcript) {
  Lines lines;
  for (const TranscriptEntry& entry : transcript) {
    lines.push_back(entry.speaker + ": " + (*entry.message)->text());
  }
  return lines;
}

/// "role name: text" for each message.
inline Lines shown(const MessageList& messages) {
  Lines lines;
  for (const MessagePtr& message : messages) {
    lines.push_back(std::string(to_string((*message)->role)) + " " + (*message)->name + ": " +
                    (*message)->text());
  }
  return lines;
}

/// A model that answers "ok" and keeps what it was shown.
inline Model listens(Runtime& runtime, std::vector<Lines>& prompts) {
  return runtime.model(scripted([&prompts](const ModelRequest& request) -> Result<ModelReply> {
                         prompts.push_back(shown(request.messages));
                         return ModelReply{.message = Message::assistant("ok")};
                       }),
                       {.limiter = unlimited(), .retry = {.max_attempts = 1}});
}

}  // namespace moderato::scene
