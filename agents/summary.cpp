#include <moderato/agents/summary.hpp>

#include <fmt/core.h>

#include <algorithm>

#include <moderato/agents/group/group_state.hpp>
#include <moderato/agents/prompt.hpp>
#include <moderato/agents/summarize.hpp>

namespace moderato {
namespace {

constexpr std::string_view closing_word = "TERMINATE";

// Any byte of a character beyond ASCII counts as part of a word.
bool in_word(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= '0' && byte <= '9') || byte == '_' || static_cast<unsigned char>(byte) >= 0x80;
}

std::string without_closing_word(std::string_view text) {
  std::string kept;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t found = text.find(closing_word, at);
    if (found == std::string_view::npos) return kept.append(text.substr(at));
    const std::size_t end = found + closing_word.size();
    const bool inside =
        (found > 0 && in_word(text[found - 1])) || (end < text.size() && in_word(text[end]));
    kept.append(text.substr(at, (inside ? end : found) - at));
    at = end;
  }
  return kept;
}

Result<std::string> last_message(const Dialogue* dialogue, const ConversableAgent& recipient) {
  if (dialogue == nullptr || !dialogue->met) {
    return fail(ErrorCode::invalid_request,
                fmt::format("{} has no conversation to sum up", recipient.name()));
  }
  if (dialogue->history.empty()) return std::string();
  return last_message_summary((*dialogue->history.back())->content);
}

// One call by the recipient's model, or else the sender's, over the recipient's view. The tools go
// along as in every request of that agent; an answer that calls one instead of speaking is an
// error.
Result<std::string> reflect(Conversation& chat, const ConversableAgent& sender,
                            const ConversableAgent& recipient, const MessageList& messages,
                            const ReflectionOptions& options) {
  const ConversableAgent& agent = recipient.model() ? recipient : sender;
  ModelRequest request{.messages = make_prompt(nullptr, messages, false),
                       .tools = AgentDefinition::of(agent).offered,
                       .sampling = agent.options().sampling};
  request.messages.push_back(store(Message{.role = options.role, .content = options.prompt}));
  auto answer = agent.model().complete(request, chat.context(agent.name(), Purpose::summary));
  if (!answer) return fail(std::move(answer).error());
  if (answer->message.has_calls()) {
    return fail(ErrorCode::protocol,
                fmt::format("asked for a summary, the model of {} called a tool", agent.name()));
  }
  return answer->message.text();
}

}  // namespace

std::string last_message_summary(const Content& content) {
  if (!content.is_parts()) return without_closing_word(content.as_text());
  std::string joined;
  bool first = true;
  for (const ContentPart& part : content.parts()) {
    const TextPart* text = std::get_if<TextPart>(&part);
    if (text == nullptr) continue;
    if (!first) joined += '\n';
    first = false;
    joined += without_closing_word(text->text);
  }
  return joined;
}

Result<std::string> summarize(Conversation& chat, const ConversableAgent& sender,
                              const ConversableAgent& recipient, const Stop& stop) {
  const SummaryMethod& method = chat.options().summary_method;
  if (method.is_none()) return std::string();
  const Dialogue* dialogue = chat.party(recipient).find(&sender);
  static const MessageList nothing;
  const MessageList* said = dialogue != nullptr ? &dialogue->history : &nothing;
  const auto& group = AgentDefinition::of(recipient).inside.group;
  if (group) said = &chat.session().part<Groups>()[recipient].messages;
  const MessageList& messages = *said;
  if (const SummaryMethod::Function* function = method.function()) {
    const CallContext call = chat.context(recipient.name(), Purpose::summary);
    return (*function)(SummaryRequest{chat.session(), sender, recipient, messages, call});
  }
  if (const ReflectionOptions* options = method.reflection()) {
    if (stop.error) return fail(*stop.error);
    return reflect(chat, sender, recipient, messages, *options);
  }
  if (group && !group->has(sender) && !messages.empty()) {
    return last_message_summary((*messages.back())->content);
  }
  return last_message(dialogue, recipient);
}

}  // namespace moderato
