#include <fmt/core.h>

#include <moderato/agents/conversation.hpp>

namespace moderato {
namespace {

// What the check found out on its way. The rule and the human are asked only where the table below
// says so: a rule may be expensive, and a person should not be asked for nothing.
struct Finding {
  std::string input{};               // what the human said; empty: nothing, or not asked
  std::optional<StopReason> stop{};  // the chat ends for this reason
  std::optional<Stop> failure{};     // the human or the rule failed
};

Message interrupted(const Message& last, std::string input) {
  static constexpr const char* answer = "USER INTERRUPTED";
  Message reply = Message::user(std::move(input));
  if (last.function_call) {
    reply.tool_responses.push_back({.tool_call_id = {},
                                    .role = Role::function,
                                    .content = answer,
                                    .name = last.function_call->name});
  }
  for (const ToolCall& call : last.tool_calls) {
    reply.tool_responses.push_back({.tool_call_id = call.id, .content = answer});
  }
  return reply;
}

Stop ended(const Turn& turn, StopReason reason) {
  Stop stop{.reason = reason, .agent = turn.name()};
  switch (reason) {
    case StopReason::max_consecutive_auto_reply:
      stop.rule = fmt::format("max_consecutive_auto_reply({})", turn.self.cap_for(turn.dialogue));
      stop.detail = fmt::format("{} automatic replies to {} in a row", turn.dialogue.auto_replies,
                                turn.sender != nullptr ? turn.sender->name() : "nobody");
      break;
    case StopReason::termination_message:
    case StopReason::human_skip_on_termination:
      stop.rule = turn.self.agent.options().is_termination_msg.describe();
      break;
    default:
      break;
  }
  return stop;
}

}  // namespace

// Who ends the chat, and when:
//
//   mode        cap reached   rule is true   the human says
//   ALWAYS      -             -              exit: end; enter: end if the rule is true, else go on
//   NEVER       yes           (not asked)    end
//   NEVER       no            yes            end
//   TERMINATE   yes           either         exit: end; enter: end if the rule is true, else go on
//   TERMINATE   no            yes            exit or enter: end
//   otherwise                                go on
//
// Any other words of the human are the reply. "Go on" counts one automatic reply and leaves the
// answer to the next reply functions; the words of a human, and an end, start the count anew.
//
// AutoGen sends an empty message when a human presses enter and the cap is 0, although its prompt
// promises the automatic reply; here enter always means what the prompt says.
Reply Conversation::check_termination_and_human_reply(Turn& turn) {
  const HumanInputMode mode = turn.self.agent.options().human_input_mode;
  const bool at_cap = turn.dialogue.auto_replies >= turn.self.cap_for(turn.dialogue);
  const std::string peer = turn.sender != nullptr ? turn.sender->name() : std::string();
  Finding found;
  const auto rule = [&] {
    auto matched = guarded("is_termination_msg", turn.name(), [&] {
      return turn.self.agent.options().is_termination_msg.matches(turn.last());
    });
    if (!matched) found.failure = std::move(matched).error();
    return matched.value_or(false);
  };
  const auto ask = [&](HumanSituation situation) {
    auto input = ask_human(turn.self, situation, peer);
    if (input) {
      found.input = std::move(*input);
      if (found.input == "exit") found.stop = StopReason::human_exit;
    } else {
      found.failure = stop_from(std::move(input).error(), turn.name(), StopReason::human_error);
    }
    return !found.failure && found.input.empty();
  };

  if (mode == HumanInputMode::always) {
    if (ask(HumanSituation::before_answer) && rule()) {
      found.stop = StopReason::human_skip_on_termination;
    }
  } else if (at_cap && mode == HumanInputMode::never) {
    found.stop = StopReason::max_consecutive_auto_reply;
  } else {
    const bool terminates = rule();
    if (mode == HumanInputMode::never) {
      if (terminates) found.stop = StopReason::termination_message;
    } else if (!found.failure && (terminates || at_cap)) {
      const bool skipped =
          ask(terminates ? HumanSituation::on_termination : HumanSituation::at_cap);
      if (skipped && terminates) found.stop = StopReason::human_skip_on_termination;
    }
  }

  if (found.failure) return Reply::none(std::move(*found.failure));
  if (found.stop) {
    Stop stop = ended(turn, *found.stop);
    turn.dialogue.auto_replies = 0;
    return Reply::none(std::move(stop));
  }
  if (!found.input.empty()) {
    turn.dialogue.auto_replies = 0;
    return Reply::say(interrupted(turn.last(), std::move(found.input)), MessageKind::human);
  }
  ++turn.dialogue.auto_replies;
  return Reply::pass();
}

}  // namespace moderato
