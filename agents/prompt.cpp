#include <moderato/agents/prompt.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace moderato {
namespace {

// A model needs neither the values for templates nor the answers that were unrolled before it.
bool is_plain(const Message& message) {
  return message.context.is_null() && message.tool_responses.empty();
}

bool keeps_its_role(const Message& message) {
  return message.role == Role::tool || message.role == Role::function;
}

MessagePtr unrolled(const ToolResponse& response) {
  return store(Message{.role = response.role,
                       .content = response.content,
                       .name = response.name,
                       .tool_call_id = response.tool_call_id});
}

// A stop between a call and its answer leaves a history that providers refuse when the talk goes
// on. The history stays as it was; a model is told that nothing was run.
void answer_open_calls(MessageList& prompt, const Message& next) {
  if (prompt.empty() || !(*prompt.back())->has_calls()) return;
  if (next.role == Role::tool || next.role == Role::function || !next.tool_responses.empty()) {
    return;
  }
  const MessagePtr open = prompt.back();
  const std::string why = "Not run: the conversation was stopped before.";
  for (const ToolCall& call : (*open)->tool_calls) {
    prompt.push_back(unrolled({.tool_call_id = call.id, .content = why}));
  }
  if ((*open)->function_call) {
    prompt.push_back(store(
        Message{.role = Role::function, .content = why, .name = (*open)->function_call->name}));
  }
}

bool starts_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
}

}  // namespace

Message as_kept(Message message, const std::string& speaker, Role side) {
  if (message.has_calls()) {
    message.role = Role::assistant;
  } else {
    if (!keeps_its_role(message)) message.role = side;
    if (message.name.empty()) message.name = speaker;
  }
  message.refusal.clear();
  return message;
}

MessagePtr as_heard(const MessagePtr& said) {
  if ((*said)->has_calls() || keeps_its_role(**said)) return said;
  Message heard = **said;
  heard.role = Role::user;
  return store(std::move(heard));
}

void give_call_ids(Message& message, std::size_t number) {
  const auto unnamed = [](const ToolCall& call) { return call.id.empty(); };
  if (message.tool_calls.size() < 2 || std::ranges::none_of(message.tool_calls, unnamed)) return;
  for (std::size_t place = 0; place < message.tool_calls.size(); ++place) {
    std::string& id = message.tool_calls[place].id;
    if (id.empty()) id = fmt::format("call_{}_{}", number, place);
  }
}

void append_unrolled(MessageList& prompt, const MessagePtr& kept, bool fill_templates,
                     const Json* values) {
  const Message& message = **kept;
  answer_open_calls(prompt, message);
  for (const ToolResponse& response : message.tool_responses) prompt.push_back(unrolled(response));
  if (!message.tool_responses.empty() && message.role == Role::tool) return;

  if (!message.context.is_null()) values = &message.context;
  std::optional<std::string> filled;
  if (fill_templates && values != nullptr && message.content.is_text()) {
    filled = fill_in(message.content.as_text(), *values);
  }
  if (is_plain(message) && (!filled || *filled == message.content.as_text())) {
    prompt.push_back(kept);
    return;
  }
  Message copy = message;
  copy.tool_responses.clear();
  copy.context = nullptr;
  if (filled) copy.content = std::move(*filled);
  prompt.push_back(store(std::move(copy)));
}

void update_prompt(const PartyState& party, Dialogue& dialogue) {
  if (dialogue.prompt.empty()) {
    dialogue.prompt.push_back(party.system);
  } else {
    dialogue.prompt.front() = party.system;
  }
  for (; dialogue.prepared < dialogue.history.size(); ++dialogue.prepared) {
    append_unrolled(dialogue.prompt, dialogue.history[dialogue.prepared],
                    party.agent.options().allow_format_str_template);
  }
}

MessageList make_prompt(const MessagePtr& system, std::span<const MessagePtr> messages,
                        bool fill_templates) {
  const bool has_values = !messages.empty() && !(*messages.back())->context.is_null();
  const Json* values = has_values ? &(*messages.back())->context : nullptr;
  MessageList prompt;
  prompt.reserve(messages.size() + 1);
  if (system) append_unrolled(prompt, system, fill_templates, values);
  for (const MessagePtr& message : messages) {
    append_unrolled(prompt, message, fill_templates, values);
  }
  return prompt;
}

std::string fill_in(std::string_view text, const Json& values) {
  std::string filled;
  filled.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with("{{") || rest.starts_with("}}")) {
      filled += rest.front();
      at += 2;
      continue;
    }
    const std::size_t end = rest.front() == '{' ? rest.find('}') : std::string_view::npos;
    const auto value = end == std::string_view::npos
                           ? values.end()
                           : values.find(std::string(rest.substr(1, end - 1)));
    if (end != std::string_view::npos && value != values.end()) {
      filled += value->is_string() ? value->get_ref<const std::string&>() : dump_json(*value);
      at += end + 1;
    } else {
      filled += rest.front();
      ++at;
    }
  }
  return filled;
}

std::string normalized_name(std::string_view name) {
  std::string clean;
  for (const char byte : name) {
    const bool allowed = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                         (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
    if (allowed) {
      clean += byte;
    } else if (starts_character(byte)) {
      clean += '_';
    }
    if (clean.size() == 64) break;
  }
  return clean;
}

}  // namespace moderato
