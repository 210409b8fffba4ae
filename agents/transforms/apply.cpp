#include <moderato/agents/transforms/apply.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include <moderato/agents/transforms/tool_exchange.hpp>

namespace moderato {
namespace {

std::size_t text_bytes(const MessageList& messages) {
  std::size_t bytes = 0;
  for (const MessagePtr& message : messages) {
    bytes += (*message)->text().size();
    for (const ToolResponse& response : (*message)->tool_responses)
      bytes += response.content.size();
  }
  return bytes;
}

// A call without its answer, or an answer without its call, is what every provider refuses. If the
// repair leaves nothing, the newest exchange is shown whole.
MessageList repaired(const MessageList& before, MessageList after) {
  if (!has_whole_exchanges(before) || has_whole_exchanges(after)) return after;
  MessageList whole = only_whole_exchanges(after);
  if (whole.empty() || (answers_calls(**after.back()) && whole.back() != after.back())) {
    const std::size_t begin = exchange_begin(before, before.size() - 1);
    whole.insert(whole.end(), before.begin() + static_cast<std::ptrdiff_t>(begin),
                 before.end() - 1);
    whole.push_back(after.back());
  }
  return whole;
}

}  // namespace

std::optional<ContextTrimmed> trimmed_between(const MessageList& before, const MessageList& after) {
  const std::size_t bytes_before = text_bytes(before);
  const std::size_t bytes_after = text_bytes(after);
  if (after.size() >= before.size() && bytes_after >= bytes_before) return std::nullopt;
  return ContextTrimmed{.messages_left_out = before.size() - std::min(before.size(), after.size()),
                        .bytes_left_out = bytes_before - std::min(bytes_before, bytes_after),
                        .messages_shown = after.size()};
}

Result<MessageList> apply_transforms(const std::vector<Transform>& transforms, MessageList messages,
                                     const TransformContext& context,
                                     const std::function<void(ContextTrimmed)>& trimmed) {
  MessagePtr system;
  if (messages.size() > 1 && (*messages.front())->role == Role::system) {
    system = messages.front();
    messages.erase(messages.begin());
  }
  for (const Transform& transform : transforms) {
    auto changed = transform(messages, context);
    if (!changed) return changed;
    const auto is_null = [](const MessagePtr& message) { return message == nullptr; };
    if (changed->empty() || std::any_of(changed->begin(), changed->end(), is_null)) {
      return fail(ErrorCode::internal,
                  fmt::format("the transform {} gave an empty list, or one with a null message",
                              transform.describe()));
    }
    *changed = repaired(messages, std::move(*changed));
    if (auto event = trimmed_between(messages, *changed)) {
      event->agent = context.agent;
      event->by = transform.describe();
      trimmed(std::move(*event));
    }
    messages = std::move(*changed);
  }
  if (system) messages.insert(messages.begin(), std::move(system));
  return messages;
}

}  // namespace moderato
