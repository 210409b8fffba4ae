#include <moderato/agents/transforms/content_name.hpp>

#include <string_view>

namespace moderato {
namespace {

std::string with_name(std::string text, std::string_view name) {
  static constexpr std::string_view place = "{name}";
  for (std::size_t at = 0; (at = text.find(place, at)) != std::string::npos; at += name.size()) {
    text.replace(at, place.size(), name);
  }
  return text;
}

std::string_view text_of(const ContentPart& part) {
  const auto* text = std::get_if<TextPart>(&part);
  return text != nullptr ? std::string_view(text->text) : std::string_view();
}

Content named(const Content& content, const std::string& name, const ContentName& settings) {
  const bool at_start = settings.position == NamePosition::start;
  const auto has_it = [&](std::string_view text) {
    return settings.deduplicate && (at_start ? text.starts_with(name) : text.ends_with(name));
  };
  if (content.is_text()) {
    const std::string text(content.as_text());
    if (has_it(text)) return content;
    return at_start ? name + text : text + name;
  }
  std::vector<ContentPart> parts = content.parts();
  if (has_it(text_of(at_start ? parts.front() : parts.back()))) return content;
  parts.insert(at_start ? parts.begin() : parts.end(), TextPart{name});
  return parts;
}

bool has_text(const Content& content) {
  for (const ContentPart& part : content.parts()) {
    if (!text_of(part).empty()) return true;
  }
  return !content.as_text().empty();
}

}  // namespace

MessageList add_names(MessageList messages, const ContentName& settings) {
  for (MessagePtr& message : messages) {
    const Message& said = **message;
    if (said.name.empty() || !has_text(said.content)) continue;
    if (settings.filter && !settings.filter(said)) continue;
    Content content = named(said.content, with_name(settings.format_string, said.name), settings);
    if (content == said.content) continue;
    Message copy = said;
    copy.content = std::move(content);
    message = store(std::move(copy));
  }
  return messages;
}

Transform content_name(ContentName settings) {
  return Transform("content_name",
                   [settings = std::move(settings)](MessageList messages, const TransformContext&) {
                     return Result<MessageList>(add_names(std::move(messages), settings));
                   });
}

}  // namespace moderato
