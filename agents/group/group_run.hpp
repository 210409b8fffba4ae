#pragma once

// Private header of the library: not installed.

#include <moderato/agents/group/group_state.hpp>
#include <moderato/agents/reply_function.hpp>

namespace moderato {

/// One run of a group, as its manager's reply: everything that is said until the run ends. As a
/// rule a manager does not reply, and the stop says why the run ended. A manager that is asked by
/// another group, a graph or a planner says the last message of its group.
[[nodiscard]] Reply run_group(const ReplyRequest& request, const GroupDefinition& group);

/// clear_history.cpp: what a reply that says "clear history [NAME] [KEEP]" makes the participants
/// forget, and the reply without these words.
[[nodiscard]] Message obey_clear_history(Message reply, Session& session,
                                         const ConversableAgent& manager,
                                         const GroupDefinition& group);
/// A person or a tool says it; a model's words do nothing.
[[nodiscard]] bool asks_to_clear_history(MessageKind kind, const Message& reply);

}  // namespace moderato
