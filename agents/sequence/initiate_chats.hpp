#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <moderato/agents/sequence/queued_chat.hpp>
#include <moderato/core/session.hpp>

namespace moderato {

/// Settings of a queue of chats as a whole.
struct ChatQueueOptions {
  std::optional<ConversableAgent> sender{};  ///< Of chats that name none.
  /// Tokens that all chats together never exceed.
  std::optional<std::int64_t> token_budget{};
  Observer observer{};
  std::string tenant{};  ///< Empty: the session's.
  Instant deadline = no_deadline;
  std::stop_token stop{};
  /// Null: a fresh one. Borrowed for the time of the call.
  Session* session = nullptr;
  /// Most chats of a dependency graph at a time; ≥ 1.
  std::size_t max_in_flight = 8;
  /// What it throws ends the queue with callback_error.
  OnChatEnd on_chat_end{};
};

struct ChatQueueResult {
  /// In the order of the queue, as many as ended; chats of a dependency graph that never began have
  /// an empty stop.
  std::vector<ChatResult> chats{};
  /// Set if a chat failed or was stopped from outside, or if the tokens that the chats share are
  /// used up: what would have followed did not run.
  Stop stop{};
  // Of all chats together.
  std::int64_t calls = 0;
  std::int64_t attempts = 0;
  Usage usage{};
  double cost = 0.0;
};

/// Runs chats one after the other; each begins with its own carryover and the summaries of all
/// earlier ones.
///
/// A queue with prerequisites is a dependency graph: chats run as soon as those that they wait for
/// have ended, independent ones at the same time, each in a session of its own ("SESSION/CHAT_ID",
/// with the same journal and the same budget); only the summaries of its prerequisites are carried
/// over.
///
/// Throws std::invalid_argument before anything is said: a chat without sender or recipient, an
/// index out of range, two chats of one id, prerequisites that are unknown or wait for each other,
/// and what initiate_chat throws.
[[nodiscard]] ChatQueueResult initiate_chats(std::vector<QueuedChat> queue,
                                             ChatQueueOptions options = {});

}  // namespace moderato
