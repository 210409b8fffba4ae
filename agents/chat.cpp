#include <moderato/agents/chat.hpp>

#include <algorithm>

#include <moderato/agents/conversation.hpp>
#include <moderato/agents/group/group_state.hpp>
#include <moderato/agents/summarize.hpp>

namespace moderato {
namespace {

// Everybody in a group turns to its manager; a group inside the group does the same.
void prepare_group(Conversation& chat, const ConversableAgent& manager);

// Both sides turn to each other: counters start anew (also when the histories stay), and the pair
// is open for replies unless the turns are counted.
void prepare(Conversation& chat, const ConversableAgent& self, const ConversableAgent& peer) {
  PartyState& party = chat.party(self);
  Dialogue& dialogue = party.with(&peer);
  dialogue.auto_replies = 0;
  dialogue.reply_at_receive = !chat.options().max_turns;
  if (!chat.options().clear_history) return;
  dialogue.forget();
  dialogue.met = true;
  party.human_inputs.clear();
}

void prepare_group(Conversation& chat, const ConversableAgent& manager) {
  const auto& group = AgentDefinition::of(manager).inside.group;
  if (!group) return;
  if (chat.options().clear_history) chat.session().part<Groups>()[manager].messages.clear();
  for (const ConversableAgent& member : group->chat.agents) {
    prepare(chat, member, manager);
    prepare_group(chat, member);
  }
}

// The message that opens the chat, or why there is none.
tl::expected<Message, Stop> opening(Conversation& chat, const ConversableAgent& sender,
                                    const ConversableAgent& recipient, const ChatMessage& message) {
  const Carryover& carryover = chat.options().carryover;
  if (const Message* given = message.message()) return with_carryover(*given, carryover);
  if (const ChatMessage::Function* make = message.function()) {
    auto made = guarded("message function", sender.name(), [&] {
      const CallContext call = chat.context(sender.name(), Purpose::other);
      return (*make)(OpeningRequest{sender, recipient, carryover, call});
    });
    if (!made) return tl::unexpected<Stop>(std::move(made).error());
    if (*made) return std::move(**made);
    return tl::unexpected<Stop>(
        Stop{.reason = StopReason::no_initial_message, .agent = sender.name()});
  }
  auto typed = chat.ask_human(chat.party(sender), HumanSituation::opening, "");
  if (!typed) {
    return tl::unexpected<Stop>(
        stop_from(std::move(typed).error(), sender.name(), StopReason::human_error));
  }
  return with_carryover(Message::user(std::move(*typed)), carryover);
}

// Whoever did not speak last answers.
Stop go_on(Conversation& chat, const ConversableAgent& sender, const ConversableAgent& recipient) {
  const Transcript& said = chat.session().transcript();
  const auto last = std::find_if(said.rbegin(), said.rend(), [&](const TranscriptEntry& entry) {
    return (entry.speaker == sender.name() && entry.recipient == recipient.name()) ||
           (entry.speaker == recipient.name() && entry.recipient == sender.name());
  });
  if (last == said.rend()) {
    return {.reason = StopReason::no_initial_message, .agent = sender.name()};
  }
  const bool own = last->speaker == sender.name();
  return chat.exchange(own ? sender : recipient, own ? recipient : sender, std::nullopt,
                       MessageKind::reply, true);
}

Stop converse(Conversation& chat, const ConversableAgent& sender, const ConversableAgent& recipient,
              const ChatMessage& message) {
  if (Stop stop = chat.begin(sender, recipient)) return stop;
  const auto& turns = chat.options().max_turns;
  if (turns && *turns <= 0) {
    return {.reason = StopReason::max_turns, .agent = sender.name(), .rule = "max_turns(0)"};
  }
  if (Stop stop = chat.check(sender.name(), false)) return stop;
  if (message.goes_on()) return go_on(chat, sender, recipient);
  auto first = opening(chat, sender, recipient, message);
  if (!first) return std::move(first).error();
  return chat.exchange(sender, recipient, std::move(*first), MessageKind::task);
}

// An initiator that is no participant of the group hears nothing of it: AutoGen gives it its own
// first message for a history. Here it is given what the group said.
MessageList chat_history(Conversation& chat, const ConversableAgent& sender,
                         const ConversableAgent& recipient) {
  const auto& group = AgentDefinition::of(recipient).inside.group;
  if (group && !group->has(sender)) {
    const MessageList& said = chat.session().part<Groups>()[recipient].messages;
    if (!said.empty()) return said;
  }
  const Dialogue* dialogue = chat.party(sender).find(&recipient);
  return dialogue != nullptr ? dialogue->history : MessageList();
}

/// Its summary, and what it took. (Not inlined: its frame would lie under the whole chat.)
[[gnu::noinline]] void conclude(Conversation& chat, const ConversableAgent& sender,
                                const ConversableAgent& recipient, ChatResult& result) {
  auto summary = guarded("the summary", sender.name(),
                         [&] { return summarize(chat, sender, recipient, result.stop); });
  if (!summary) {
    result.summary_error = std::move(summary).error().error;
  } else if (*summary) {
    result.summary = std::move(**summary);
  } else {
    result.summary_error = std::move(*summary).error();
  }

  const CallTotals::Snapshot used = chat.used();
  result.calls = used.calls;
  result.attempts = used.attempts;
  result.usage = used.usage;
  result.cost = used.cost;
  result.queue_wait = used.queue_wait;
  result.turns = chat.completed_turns();
  result.transcript = std::move(chat.transcript());
  result.chat_history = chat_history(chat, sender, recipient);
  result.human_inputs = chat.party(sender).human_inputs;
  result.session = chat.session().id();
  chat.notify([&] { return Stopped{result.stop, result.calls, result.usage}; });
}

}  // namespace

ChatResult run_chat(Session& session, const ConversableAgent& sender,
                    const ConversableAgent& recipient, const ChatMessage& message,
                    const ChatOptions& options, Conversation* parent) {
  Conversation chat(session, options, parent);
  chat.notify([&] { return ChatStarted{sender.name(), recipient.name()}; });
  if (!message.goes_on()) {
    prepare(chat, sender, recipient);
    prepare(chat, recipient, sender);
    prepare_group(chat, recipient);
  }

  ChatResult result;
  // The seams catch what users' functions throw; this net is for what nobody foresaw (no memory).
  auto stop = guarded("the conversation", sender.name(),
                      [&] { return converse(chat, sender, recipient, message); });
  result.stop = stop ? std::move(*stop) : std::move(stop).error();
  conclude(chat, sender, recipient, result);
  return result;
}

}  // namespace moderato
