#pragma once

// Private header of the library: not installed.

#include <string>
#include <vector>

#include <moderato/agents/conversation.hpp>
#include <moderato/agents/sequence/initiate_chats.hpp>

namespace moderato {

/// A chat as it is run: with its sender and message settled, and what it is told of earlier ones.
struct ReadyChat {
  const QueuedChat* queued = nullptr;
  ConversableAgent sender;
  ChatMessage message;
};

/// The chat's options with `summaries` added to its own carryover.
[[nodiscard]] ChatOptions options_of(const QueuedChat& chat,
                                     const std::vector<std::string>& summaries);

/// Whether the rest of a queue may not run after `chat` ended like this.
[[nodiscard]] bool ends_the_queue(const QueuedChat& chat, const Stop& stop) noexcept;

/// Tells a user's function, if there is one, that a chat has ended; what it throws ends the queue:
/// it becomes the chat's stop.
void tell_chat_end(const OnChatEnd& on_chat_end, const QueuedChat& chat, ChatResult& ended);

/// Chats one after the other, inside `parent`.
[[nodiscard]] ChatQueueResult run_sequence(Conversation& parent,
                                           const std::vector<ReadyChat>& chats,
                                           const OnChatEnd& on_chat_end);

/// dependency_graph.cpp. Throws std::invalid_argument naming the chats.
struct DependencyGraph {
  explicit DependencyGraph(const std::vector<QueuedChat>& queue);
  std::vector<std::string> ids{};
  std::vector<std::vector<std::size_t>> waits_for{};
};
[[nodiscard]] ChatQueueResult run_dependency_graph(Conversation& parent,
                                                   const DependencyGraph& graph,
                                                   const std::vector<ReadyChat>& chats,
                                                   const ChatQueueOptions& options);

}  // namespace moderato
