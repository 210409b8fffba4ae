#include <moderato/agents/sequence/nested_chats.hpp>

#include <fmt/core.h>

#include <stdexcept>

#include <moderato/agents/sequence/chat_queue.hpp>

namespace moderato {
namespace {

constexpr int max_depth = 8;

struct Nested {
  std::vector<QueuedChat> queue;
  NestedChatsOptions options;
};

bool says_nothing(const Message& message) {
  return message.content.text().empty() && !message.has_calls();
}

// Adds one entry with its opening message, unless there is nothing to say. In AutoGen only the
// first entry opens with the outer message, and a later one without a message is left out without a
// word.
void add_ready(std::vector<ReadyChat>& ready, const QueuedChat& chat, const ReplyRequest& outer) {
  const auto add = [&](const ChatMessage& message) {
    ready.push_back(
        {.queued = &chat, .sender = chat.sender ? *chat.sender : outer.agent, .message = message});
  };
  if (chat.nested_message) {
    const std::optional<Message> made = chat.nested_message(outer);
    if (made && !says_nothing(*made)) add(*made);
  } else if (chat.message) {
    const Message* given = chat.message->message();
    if (given == nullptr || !says_nothing(*given)) add(*chat.message);
  } else {
    const Content& last = (*outer.messages.back())->content;
    if (!last.text().empty()) add(Message{.role = Role::user, .content = last});
  }
}

Reply run_nested(const Nested& nested, const ReplyRequest& outer) {
  if (outer.conversation.depth() >= max_depth) {
    return Reply::none(callback_stop(
        "nested_chats", outer.agent.name(),
        fmt::format("chats nest {} deep: does a trigger match inside its own nested chat?",
                    max_depth)));
  }
  std::vector<ReadyChat> ready;
  for (const QueuedChat& chat : nested.queue) add_ready(ready, chat, outer);
  if (ready.empty()) return Reply::none();
  ChatQueueResult result = run_sequence(outer.conversation, ready, nested.options.on_chat_end);
  if (result.stop) return Reply::none(std::move(result.stop));
  return Reply::say(std::move(result.chats.back().summary));
}

}  // namespace

ReplyRegistration nested_chats(std::vector<QueuedChat> queue, Trigger trigger,
                               NestedChatsOptions options) {
  for (std::size_t i = 0; i < queue.size(); ++i) {
    if (!queue[i].recipient) {
      throw std::invalid_argument(fmt::format("nested_chats: chat {} has no recipient", i));
    }
    if (queue[i].prerequisites) {
      throw std::invalid_argument(
          fmt::format("nested_chats: chat {} has prerequisites; nested chats run one by one", i));
    }
  }
  const std::size_t position = options.position;
  auto nested = std::make_shared<const Nested>(Nested{std::move(queue), std::move(options)});
  return {.reply = [nested](const ReplyRequest& outer) { return run_nested(*nested, outer); },
          .trigger = std::move(trigger),
          .position = position};
}

}  // namespace moderato
