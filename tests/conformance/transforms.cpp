#include "transforms.hpp"

#include <algorithm>
#include <stdexcept>

#include <moderato/agents/transforms/content_name.hpp>
#include <moderato/agents/transforms/history_limiter.hpp>
#include <moderato/agents/transforms/token_limiter.hpp>

namespace moderato::conformance {
namespace {

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

// \S+\s*|\s+
std::vector<std::size_t> vector_tokens(std::string_view text) {
  std::vector<std::size_t> lengths;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    while (at < text.size() && !is_space(text[at])) ++at;
    while (at < text.size() && is_space(text[at])) ++at;
    lengths.push_back(at - begin);
  }
  return lengths;
}

MessageFilter filter_from(const Value& transform) {
  const Value dict = transform.value("filter_dict", Value());
  if (!dict.is_object()) return {};
  std::map<std::string, std::vector<std::string>> values;
  for (const auto& [name, list] : dict.items()) {
    for (const Value& value : list.is_array() ? list : Value::array({list})) {
      auto& of_name = values[name];
      if (value.is_string()) of_name.push_back(value.get<std::string>());
    }
  }
  return filter_dict(std::move(values), transform.value("exclude_filter", true));
}

std::optional<std::int64_t> tokens_from(const Value& transform, const char* name) {
  const Value value = transform.value(name, Value());
  return value.is_null() ? std::nullopt : std::optional(value.get<std::int64_t>());
}

TokenLimit token_limit_from(const Value& transform) {
  return {.max_tokens = tokens_from(transform, "max_tokens"),
          .max_tokens_per_message = tokens_from(transform, "max_tokens_per_message"),
          .min_tokens = tokens_from(transform, "min_tokens").value_or(0),
          .filter = filter_from(transform),
          .tokenizer = vector_tokens};
}

HistoryLimit history_limit_from(const Value& transform) {
  return {.max_messages = transform.at("max_messages").get<std::size_t>(),
          .keep_first_message = transform.value("keep_first_message", false)};
}

ContentName content_name_from(const Value& transform) {
  return {.position = transform.value("position", "start") == "end" ? NamePosition::end
                                                                    : NamePosition::start,
          .format_string = transform.value("format_string", "{name}:\n"),
          .deduplicate = transform.value("deduplicate", true),
          .filter = filter_from(transform)};
}

}  // namespace

std::vector<Transform> transforms_from(const Value& list) {
  std::vector<Transform> transforms;
  for (const Value& transform : list) {
    const std::string type = transform.at("type");
    if (type == "history_limiter") {
      if (transform.value("max_messages", Value()).is_null()) continue;  // no limit
      transforms.push_back(history_limiter(history_limit_from(transform)));
    } else if (type == "token_limiter") {
      transforms.push_back(token_limiter(token_limit_from(transform)));
    } else {
      transforms.push_back(content_name(content_name_from(transform)));
    }
  }
  return transforms;
}

MessageList transformed(const Value& transform, const MessageList& messages) {
  const std::string type = transform.at("type");
  if (type == "history_limiter") {
    if (transform.value("max_messages", Value()).is_null()) return messages;
    return limit_history(messages, history_limit_from(transform));
  }
  if (type == "token_limiter") return limit_tokens(messages, token_limit_from(transform));
  return add_names(messages, content_name_from(transform));
}

std::string transform_quirk(const Value& transform, const MessageList& messages) {
  const bool has_answer =
      std::any_of(messages.begin(), messages.end(),
                  [](const MessagePtr& message) { return (*message)->role == Role::tool; });
  if (transform["type"] == "token_limiter" && !transform.contains("max_tokens_per_message")) {
    return "token-limiter-total-only";
  }
  return has_answer && transform["type"] != "content_name" ? "limiter-pops-newest" : "";
}

}  // namespace moderato::conformance
