#include <moderato/agents/carryover.hpp>

#include <algorithm>

namespace moderato {

Carryover::Carryover(std::string text) {
  if (!text.empty()) items_.emplace_back(std::move(text));
}

Carryover::Carryover(std::vector<std::string> texts) {
  items_.reserve(texts.size());
  for (std::string& text : texts) items_.emplace_back(std::move(text));
}

std::vector<std::string> Carryover::texts() const {
  std::vector<std::string> texts;
  texts.reserve(items_.size());
  for (const Item& item : items_) {
    const Message* message = std::get_if<Message>(&item);
    texts.push_back(message != nullptr ? message->text() : std::get<std::string>(item));
  }
  return texts;
}

std::string Carryover::text() const {
  std::string joined;
  for (const std::string& text : texts()) {
    joined += joined.empty() ? "\nContext: \n" : "\n";
    joined += text;
  }
  return joined;
}

Message with_carryover(Message message, const Carryover& carryover) {
  if (carryover.empty() || message.content.is_null()) return message;
  if (message.content.is_text()) {
    message.content = Content(std::string(message.content.as_text()) + carryover.text());
  } else {
    std::vector<ContentPart> parts = message.content.parts();
    parts.insert(parts.begin(), TextPart{carryover.text()});
    message.content = Content(std::move(parts));
  }
  return message;
}

}  // namespace moderato
