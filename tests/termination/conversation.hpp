#pragma once

#include <string>
#include <utility>
#include <vector>

#include <moderato/termination/condition.hpp>

namespace moderato {

/// A conversation for tests: said line by line, looked at as a condition does.
class Said {
 public:
  Said& say(std::string speaker, std::string text, MessageKind kind = MessageKind::reply) {
    return add(std::move(speaker), Message::assistant(std::move(text)), kind);
  }
  Said& call(std::string speaker, std::string tool, std::string arguments, std::string id = "c") {
    return add(std::move(speaker),
               Message{.role = Role::assistant,
                       .tool_calls = {{std::move(id), std::move(tool), std::move(arguments)}}},
               MessageKind::tool_call);
  }
  Said& answer(std::string speaker, std::string text, std::string id = "c") {
    Message message{.role = Role::tool, .content = text};
    message.tool_responses = {{.tool_call_id = std::move(id), .content = text}};
    return add(std::move(speaker), std::move(message), MessageKind::tool_result);
  }
  Said& add(std::string speaker, Message message, MessageKind kind) {
    entries_.push_back({.speaker = std::move(speaker),
                        .recipient = {},
                        .kind = kind,
                        .message = store(std::move(message))});
    return *this;
  }

  [[nodiscard]] const Transcript& entries() const { return entries_; }
  [[nodiscard]] ConversationView view() const { return {.transcript = entries_}; }
  [[nodiscard]] std::optional<Stop> check(const Condition& condition) const {
    return condition.check(view());
  }
  [[nodiscard]] bool stops(const Condition& condition) const {
    return check(condition).has_value();
  }

 private:
  Transcript entries_;
};

}  // namespace moderato
