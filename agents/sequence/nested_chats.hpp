#pragma once

#include <vector>

#include <moderato/agents/reply_function.hpp>
#include <moderato/agents/sequence/queued_chat.hpp>

namespace moderato {

struct NestedChatsOptions {
  std::size_t position = 2;  ///< As ReplyRegistration has it: after the termination check.
  OnChatEnd on_chat_end{};
};

/// An agent that answers with a sequence of chats: on a message that `trigger` matches it leads
/// these, and the last one's summary is its reply. Register it with ConversableOptions::replies or
/// Party::register_reply.
///
/// The chats run within the bounds of the outer one (budget, deadline, stop token), charge its
/// budget, and share its session. An entry without a message opens with the outer message, and the
/// carryover. If no entry is left to run there is no reply. A chat that fails ends the outer one
/// with its stop. Nested chats that would nest deeper than 8 levels (a trigger that matches its own
/// inner peer) end with callback_error.
///
/// Throws std::invalid_argument: an entry without a recipient, or with prerequisites.
[[nodiscard]] ReplyRegistration nested_chats(std::vector<QueuedChat> queue, Trigger trigger,
                                             NestedChatsOptions options = {});

}  // namespace moderato
