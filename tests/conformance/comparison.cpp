#include "comparison.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace moderato::conformance {
namespace {

constexpr std::string_view json_frame = "\n The argument must be in JSON format.";
constexpr std::string_view error_frame = "Error: ";

// Absent and empty are one thing here.
Value normalized_message(Value message) {
  if (!message.is_object()) return message;
  const auto drop_empty = [](Value& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end()) return;
    const bool empty = found->is_null() ||
                       (found->is_string() && found->get_ref<const std::string&>().empty()) ||
                       (found->is_array() && found->empty());
    if (empty) object.erase(found);
  };
  drop_empty(message, "tool_calls");
  drop_empty(message, "function_call");
  drop_empty(message, "tool_call_id");
  if (message.contains("tool_calls")) {
    for (Value& call : message["tool_calls"]) drop_empty(call, "id");
  }
  if (message.contains("tool_responses")) {
    for (Value& response : message["tool_responses"]) drop_empty(response, "tool_call_id");
  }
  return message;
}

Value messages_of(const Value& indexes, const Value& pool) {
  Value messages = Value::array();
  for (const Value& index : indexes) {
    messages.push_back(normalized_message(pool.at(index.get<std::size_t>())));
  }
  return messages;
}

Value expected_chat(const Value& chat, const Value& pool) {
  Value shown;
  for (const char* key : {"sender", "recipient", "end", "summary", "human_input"}) {
    if (chat.contains(key)) shown[key] = chat[key];
  }
  if (shown.contains("summary") && shown["summary"].is_null()) shown["summary"] = "";
  if (chat.contains("chat_history")) {
    shown["chat_history"] = messages_of(chat["chat_history"], pool);
  }
  return shown;
}

// A legacy function and a tool are one thing here.
Value expected_call(const Value& call, const Value& pool) {
  Value shown = call;
  shown["messages"] = messages_of(call["messages"], pool);
  if (shown.contains("functions")) {
    shown["tools"] = shown["functions"];
    shown.erase("functions");
  }
  return shown;
}

std::string shortened(const Value& value) {
  constexpr std::size_t most = 160;
  std::string text = value.dump(-1, ' ', false, Value::error_handler_t::replace);
  if (text.size() > most) text = text.substr(0, most) + "…";
  return text;
}

bool same_text(const std::string& expected, const std::string& observed,
               const std::vector<std::string>& loose) {
  if (expected == observed) return true;
  if (std::find(loose.begin(), loose.end(), expected) == loose.end()) return false;
  return (!expected.starts_with(error_frame) || observed.starts_with(error_frame)) &&
         (!expected.ends_with(json_frame) || observed.ends_with(json_frame));
}

std::string difference(const std::string& path, const Value& expected, const Value& observed) {
  return fmt::format("{}: expected {}, got {}", path, shortened(expected), shortened(observed));
}

}  // namespace

Value expected_observation(const Value& expect) {
  const Value& pool = expect.at("pool");
  Value shown;
  for (const char* key : {"results", "model_call_counts", "prompts", "counters", "trace"}) {
    shown[key] = expect.at(key);
  }
  shown["histories"] = Value::object();
  for (const auto& [agent, peers] : expect.at("histories").items()) {
    for (const auto& [peer, indexes] : peers.items()) {
      shown["histories"][agent][peer] = messages_of(indexes, pool);
    }
  }
  for (Value& result : shown["results"]) {
    if (result.contains("last_message")) {
      result["last_message"] = messages_of({result["last_message"]}, pool)[0];
    }
    if (result.contains("chat_history")) {
      result["chat_history"] = messages_of(result["chat_history"], pool);
    }
  }
  if (expect.contains("group_messages")) {
    for (const auto& [manager, indexes] : expect["group_messages"].items()) {
      shown["group_messages"][manager] = messages_of(indexes, pool);
    }
  }
  shown["chats"] = Value::array();
  for (const Value& chat : expect.at("chats")) shown["chats"].push_back(expected_chat(chat, pool));
  shown["model_calls"] = Value::array();
  for (const Value& call : expect.at("model_calls")) {
    shown["model_calls"].push_back(expected_call(call, pool));
  }
  if (expect.contains("error")) {
    for (const char* key : {"action", "kind", "category"}) {
      if (expect["error"].contains(key)) shown["error"][key] = expect["error"][key];
    }
  }
  return shown;
}

bool drop_ignored_fields(Value& observation) {
  bool any = false;
  const auto drop = [&any](Value& messages) {
    for (Value& message : messages) {
      if (message.is_object() && message.erase("context") > 0) any = true;
    }
  };
  for (auto& [agent, peers] : observation["histories"].items()) {
    for (auto& [peer, messages] : peers.items()) drop(messages);
  }
  for (Value& chat : observation["chats"]) {
    if (chat.contains("chat_history")) drop(chat["chat_history"]);
  }
  return any;
}

void leave_out(Value& observation, std::string_view path) {
  const std::size_t end = path.find('/', 1);
  const std::string step(path.substr(1, end == std::string_view::npos ? end : end - 1));
  const bool last = end == std::string_view::npos;
  if (!observation.is_structured()) return;
  if (step != "*") {
    if (last && observation.is_object()) observation.erase(step);
    if (!last && observation.contains(step)) leave_out(observation[step], path.substr(end));
    return;
  }
  for (Value& member : observation) {
    if (!last) leave_out(member, path.substr(end));
  }
}

bool as_if_in_step(Value& observation) {
  observation.erase("counters");
  Value trace = Value::array();
  for (const Value& event : observation["trace"]) {
    const bool again = !trace.empty() && event[0] == "term" && trace.back() == event;
    if (!again) trace.push_back(event);
  }
  observation["trace"] = std::move(trace);
  return true;
}

std::optional<std::string> first_difference(const Value& expected, const Value& observed,
                                            const std::vector<std::string>& loose,
                                            const std::string& path) {
  if (expected.is_string() && observed.is_string()) {
    if (same_text(expected.get_ref<const std::string&>(), observed.get_ref<const std::string&>(),
                  loose)) {
      return std::nullopt;
    }
    return difference(path, expected, observed);
  }
  if (expected.is_object() && observed.is_object()) {
    for (const auto& [key, value] : expected.items()) {
      if (!observed.contains(key)) {
        return fmt::format("{}/{}: expected {}, got nothing", path, key, shortened(value));
      }
      if (auto found = first_difference(value, observed[key], loose, path + "/" + key))
        return found;
    }
    for (const auto& [key, value] : observed.items()) {
      if (!expected.contains(key)) {
        return fmt::format("{}/{}: expected nothing, got {}", path, key, shortened(value));
      }
    }
    return std::nullopt;
  }
  if (expected.is_array() && observed.is_array()) {
    for (std::size_t i = 0; i < std::min(expected.size(), observed.size()); ++i) {
      if (auto found =
              first_difference(expected[i], observed[i], loose, fmt::format("{}/{}", path, i))) {
        return found;
      }
    }
    if (expected.size() == observed.size()) return std::nullopt;
    const std::size_t next = std::min(expected.size(), observed.size());
    return fmt::format("{}: expected {} entries, got {}; the first more is {}", path,
                       expected.size(), observed.size(),
                       shortened(expected.size() > next ? expected[next] : observed[next]));
  }
  if (expected == observed) return std::nullopt;
  return difference(path, expected, observed);
}

}  // namespace moderato::conformance
