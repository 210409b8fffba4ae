#include <moderato/agents/transforms/tool_exchange.hpp>

namespace moderato {
namespace {

// An answer belongs to the call, or to the answer, right before it.
bool follows_call(const MessageList& messages, std::size_t index) noexcept {
  return index > 0 && ((*messages[index - 1])->has_calls() || answers_calls(**messages[index - 1]));
}

bool is_answered(const MessageList& messages, std::size_t index) noexcept {
  return index + 1 == messages.size() || answers_calls(**messages[index + 1]);
}

bool is_only_an_answer(const Message& message) noexcept {
  return message.role == Role::tool || message.role == Role::function;
}

}  // namespace

bool answers_calls(const Message& message) noexcept {
  return is_only_an_answer(message) || !message.tool_responses.empty();
}

std::size_t exchange_begin(const MessageList& messages, std::size_t index) noexcept {
  while (index > 0 && answers_calls(**messages[index])) --index;
  return index;
}

bool has_whole_exchanges(const MessageList& messages) noexcept {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (answers_calls(**messages[i]) && !follows_call(messages, i)) return false;
    if ((*messages[i])->has_calls() && !is_answered(messages, i)) return false;
  }
  return true;
}

// Answers first: a call that has lost its answer is found by what follows it then.
MessageList only_whole_exchanges(MessageList messages) {
  MessageList answers_placed;
  for (MessagePtr& message : messages) {
    const Message& said = **message;
    const bool orphan = answers_calls(said) &&
                        (answers_placed.empty() || !((*answers_placed.back())->has_calls() ||
                                                     answers_calls(**answers_placed.back())));
    if (!orphan) {
      answers_placed.push_back(std::move(message));
    } else if (!is_only_an_answer(said)) {
      Message words = said;
      words.tool_responses.clear();
      answers_placed.push_back(store(std::move(words)));
    }
  }
  MessageList whole;
  for (std::size_t i = 0; i < answers_placed.size(); ++i) {
    const bool lost = (*answers_placed[i])->has_calls() && !is_answered(answers_placed, i);
    if (!lost) whole.push_back(answers_placed[i]);
  }
  return whole;
}

}  // namespace moderato
