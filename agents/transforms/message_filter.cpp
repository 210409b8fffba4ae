#include <moderato/agents/transforms/message_filter.hpp>

#include <algorithm>
#include <optional>
#include <string_view>

namespace moderato {
namespace {

std::optional<std::string> member(const Message& message, std::string_view name) {
  const auto if_any = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(text);
  };
  if (name == "role") return std::string(to_string(message.role));
  if (name == "name") return if_any(message.name);
  if (name == "tool_call_id") return if_any(message.tool_call_id);
  if (name == "content" && message.content.is_text()) return message.text();
  return std::nullopt;
}

}  // namespace

MessageFilter filter_dict(std::map<std::string, std::vector<std::string>> values, bool exclude) {
  return [values = std::move(values), exclude](const Message& message) {
    return std::all_of(values.begin(), values.end(), [&](const auto& entry) {
      const auto value = member(message, entry.first);
      const bool listed = value && std::find(entry.second.begin(), entry.second.end(), *value) !=
                                       entry.second.end();
      return listed != exclude;
    });
  };
}

}  // namespace moderato
