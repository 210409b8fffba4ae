#pragma once

// Private header of the library: not installed.

#include <moderato/agents/carryover.hpp>
#include <moderato/agents/chat_options.hpp>
#include <moderato/agents/chat_result.hpp>
#include <moderato/agents/conversable_agent.hpp>
#include <moderato/core/session.hpp>

namespace moderato {

class Conversation;

/// Throws std::invalid_argument as initiate_chat says.
void check_chat(const ConversableAgent& sender, const ConversableAgent& recipient,
                const ChatOptions& options);
/// Where a chat runs if no session says so; null if nobody knows.
[[nodiscard]] Runtime* runtime_of(const ConversableAgent& sender,
                                  const ConversableAgent& recipient);

/// One chat from its opening to its summary, on the current fiber, in `session`. The options have
/// been checked. A chat inside another (`parent`) has the bounds and observers of that, too.
[[nodiscard]] ChatResult run_chat(Session& session, const ConversableAgent& sender,
                                  const ConversableAgent& recipient, const ChatMessage& message,
                                  const ChatOptions& options, Conversation* parent = nullptr);

}  // namespace moderato
