#include <moderato/agents/team_turn.hpp>

#include <fmt/core.h>

#include <moderato/agents/prompt.hpp>

namespace moderato {
namespace {

// The thread as one member sees it: its own words as its own.
MessageList seen_by(const ConversableAgent& member, const Thread& thread) {
  MessageList seen;
  for (const MessagePtr& message : thread) {
    const bool own = (*message)->name == member.name();
    Message kept = as_kept(**message, (*message)->name, own ? Role::assistant : Role::user);
    seen.push_back(kept == **message ? message : store(std::move(kept)));
  }
  return seen;
}

}  // namespace

Stop team_turn(Conversation& chat, const ConversableAgent& team, const ConversableAgent& member,
               Thread& thread, int max_tool_rounds) {
  PartyState& party = chat.party(member);
  MessageList seen = seen_by(member, thread);
  for (int round = 0; round <= 2 * max_tool_rounds; ++round) {
    party.with(&team).auto_replies = 0;  // the team bounds how often its members speak
    Reply reply = chat.generate_reply(party, &team, &seen);
    if (!reply.message) {
      if (!reply.stop) reply.stop = {.reason = StopReason::no_reply, .agent = member.name()};
      return std::move(reply.stop);
    }
    const bool goes_on = reply.message->has_calls() || reply.kind == MessageKind::tool_result;
    seen.push_back(store(as_kept(std::move(*reply.message), member.name(), Role::assistant)));
    if (Stop stop = chat.announce(member, team, seen.back(), reply.kind)) return stop;
    if (reply.stop) return std::move(reply.stop);
    if (!goes_on) {
      thread.push_back(seen.back());
      return {};
    }
  }
  return {.reason = StopReason::max_messages,
          .agent = member.name(),
          .rule = fmt::format("max_tool_rounds({})", max_tool_rounds),
          .detail = "calls of tools, and no answer after so many rounds of them"};
}

int next_team_run(Session& session, const std::string& team) {
  return ++session.part<TeamRuns>().runs[team];
}

Reply team_answer(const ReplyRequest& request, std::string text, Stop stop) {
  Reply reply = Reply::say(std::move(text));
  const bool inside = request.sender == nullptr || request.sender->kind() == AgentKind::team ||
                      request.sender->kind() == AgentKind::group_chat_manager;
  if (!inside && !request.conversation.options().max_turns) reply.stop = std::move(stop);
  return reply;
}

}  // namespace moderato
