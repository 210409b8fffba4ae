#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <moderato/agents/chat_options.hpp>
#include <moderato/agents/chat_result.hpp>
#include <moderato/agents/conversable_agent.hpp>
#include <moderato/agents/reply_function.hpp>

namespace moderato {

/// One chat of a sequence, of a dependency graph, or of nested chats. A value: running a queue does
/// not change it.
struct QueuedChat {
  std::optional<ConversableAgent> sender{};     ///< Unset: the sender of the queue.
  std::optional<ConversableAgent> recipient{};  ///< Required.
  /// Unset: in a sequence the sender's human is asked, in nested chats it is the outer message.
  std::optional<ChatMessage> message{};
  /// Bounds and settings of this chat; its own carryover comes before the summaries of earlier
  /// chats. `session` and `clear_history` are not looked at.
  ChatOptions options{};
  /// Both sides forget their earlier talk with each other first.
  bool clear_history = true;
  /// Earlier chats of the queue, by index from 0, whose summaries are not carried over.
  std::vector<std::size_t> finished_chat_indexes_to_exclude_from_carryover{};

  /// Names the chat for others' prerequisites; empty: its index.
  std::string chat_id{};
  /// Chats that must have ended before this one begins. If any chat of a queue has this set (to
  /// nothing, say), the queue is a dependency graph.
  std::optional<std::vector<std::string>> prerequisites{};

  /// Only in nested chats: makes the message from the outer conversation. nullopt or an empty text:
  /// the chat is left out.
  std::function<std::optional<Message>(const ReplyRequest&)> nested_message{};
};

/// Told of every chat of a queue when it has ended.
using OnChatEnd = std::function<void(const QueuedChat&, const ChatResult&)>;

}  // namespace moderato
