#pragma once

// Private header of the library: not installed.

#include <moderato/agents/conversation.hpp>

namespace moderato {

/// What was said in a team (a graph, a planner and its workers): every message under its speaker's
/// name. Tool calls and their results stay with the turn in which they were made.
using Thread = MessageList;

/// Lets `member` answer `thread` on behalf of `team` and appends its answer. What it calls on the
/// way is run by itself, at most `max_tool_rounds` times. The stop is empty unless there was no
/// answer.
[[nodiscard]] Stop team_turn(Conversation& chat, const ConversableAgent& team,
                             const ConversableAgent& member, Thread& thread,
                             int max_tool_rounds = 10);

/// A number for each run of a team in a session, from 1.
struct TeamRuns {
  std::unordered_map<std::string, int> runs{};
};
[[nodiscard]] int next_team_run(Session& session, const std::string& team);

/// The answer of a team that has come to its end. It ends the chat with `stop`, unless somebody
/// else goes on: another team, or an initiator with max_turns.
[[nodiscard]] Reply team_answer(const ReplyRequest& request, std::string text, Stop stop);

}  // namespace moderato
