#include <moderato/agents/conversation.hpp>

#include <fmt/core.h>

#include <algorithm>

#include <moderato/agents/effect_text.hpp>
#include <moderato/agents/prompt.hpp>
#include <moderato/agents/worker_call.hpp>
#include <moderato/core/wait.hpp>

namespace moderato {

struct EitherStop::Both {
  struct Request {
    std::stop_source* source;
    void operator()() const noexcept { source->request_stop(); }
  };
  Both(const std::stop_token& first, const std::stop_token& second)
      : on_first(first, Request{&source}), on_second(second, Request{&source}) {}

  std::stop_source source;
  std::stop_callback<Request> on_first;
  std::stop_callback<Request> on_second;
};

EitherStop::EitherStop(const std::stop_token& first, const std::stop_token& second) {
  if (!first.stop_possible() || !second.stop_possible()) {
    token_ = first.stop_possible() ? first : second;
    return;
  }
  both_ = std::make_shared<Both>(first, second);
  token_ = both_->source.get_token();
}

namespace {

// The run of a group has come to its own end; what bounds the whole chat ends that, too.
bool is_between_group_runs(const ConversableAgent& manager, const Stop& stop) {
  if (!AgentDefinition::of(manager).inside.group) return false;
  switch (stop.reason) {
    case StopReason::max_messages:  // a cap of the whole chat has another rule
      return stop.rule.starts_with("max_round(");
    case StopReason::termination_message:
    case StopReason::max_consecutive_auto_reply:
    case StopReason::human_exit:
    case StopReason::human_skip_on_termination:
    case StopReason::no_reply:
      return true;
    default:
      return false;
  }
}

}  // namespace

Conversation::Conversation(Session& session, const ChatOptions& options, Conversation* parent)
    : session_(session),
      options_(options),
      parties_(session.part<Parties>()),
      stop_(parent != nullptr ? parent->base_.stop : session.options().stop, options.stop),
      observers_((parent != nullptr ? parent->observers_ : session.options().observer) |
                 options.observer),
      // (A child session was made with its parent's bounds.)
      base_(parent != nullptr && &parent->session_ == &session ? parent->base_ : session.context()),
      used_before_(session.totals().snapshot()),
      started_(session.runtime().clock().now()),
      session_began_(session.effects().session_time()),
      repetition_(options.repetition),
      parent_(parent),
      depth_(parent != nullptr ? parent->depth_ + 1 : 0) {
  base_.stop = stop_.token();
  base_.deadline = std::min(base_.deadline, options.deadline);
  base_.observer = base_.observer | options.observer;
  if (!options.tenant.empty()) base_.tenant = options.tenant;
  base_.budget = chat_budget(options, base_.budget);
  if (options.cache) base_.cache = options.cache;
}

CallContext Conversation::context(const std::string& agent, Purpose purpose) {
  CallContext context = base_;
  context.agent = agent;
  context.purpose = purpose;
  return context;
}

CallTotals::Snapshot Conversation::used() {
  return used_between(used_before_, session_.totals().snapshot());
}

Stop Conversation::begin(const ConversableAgent& first, const ConversableAgent& second) {
  auto marked = session_.effects().effect<bool>(
      EffectKind::start, "chat", [&] { return first.name() + " to " + second.name(); },
      [] { return true; }, [](bool) { return Json(); },
      [](const Json&) -> Result<bool> { return true; });
  if (!marked) return stop_from(std::move(marked).error(), first.name());
  session_began_ = session_.effects().session_time();
  return {};
}

// AutoGen lets `send` call `receive`, which calls `generate_reply`, which calls `send` on the other
// side: four frames a turn, and the end of the stack after some 250 turns. Here two pointers swap
// places.
//
// In AutoGen a chat with max_turns goes on after the recipient gave no reply: the initiator then
// answers its own message. Here no reply ends a chat in either form. (A group chat manager never
// replies: what its group said is its turn, and after it the initiator goes on.)
Stop Conversation::exchange(const ConversableAgent& first, const ConversableAgent& second,
                            std::optional<Message> opening, MessageKind kind,
                            std::optional<bool> request_reply) {
  const ConversableAgent* speaker = &first;
  const ConversableAgent* listener = &second;
  if (opening) {
    if (Stop stop = deliver(*speaker, *listener, std::move(*opening), kind)) return stop;
  }
  for (std::int64_t said = 1;; ++said) {
    yield_fiber();  // a chat in which nobody waits leaves the loop to others, too
    if (options_.max_turns && said >= 2 * *options_.max_turns) return turns_used_up(first);
    if (!options_.max_turns && said >= options_.max_messages) {
      return messages_used_up(*speaker, said);
    }
    PartyState& replier = party(*listener);
    const bool wanted = options_.max_turns.has_value() || replier.with(speaker).reply_at_receive;
    if (!request_reply.value_or(wanted)) return {};
    request_reply.reset();

    Reply reply = generate_reply(replier, speaker);
    if (!reply.message && options_.max_turns && is_between_group_runs(*listener, reply.stop)) {
      if (++said >= 2 * *options_.max_turns) return turns_used_up(first);
      answer_instead(reply, *speaker, *listener);
      std::swap(speaker, listener);
    }
    if (!reply.message) {
      if (reply.stop) return std::move(reply.stop);
      return Stop{.reason = StopReason::no_reply, .agent = listener->name()};
    }
    std::swap(speaker, listener);
    if (Stop stop = deliver(*speaker, *listener, std::move(*reply.message), reply.kind)) {
      return stop;
    }
    if (reply.stop) return std::move(reply.stop);
  }
}

// A function of its own, so that the frame under a whole chat has one reply and not two.
void Conversation::answer_instead(Reply& reply, const ConversableAgent& agent,
                                  const ConversableAgent& peer) {
  reply = generate_reply(party(agent), &peer);
}

Stop Conversation::turns_used_up(const ConversableAgent& first) const {
  return Stop{.reason = StopReason::max_turns,
              .agent = first.name(),
              .rule = fmt::format("max_turns({})", *options_.max_turns),
              .detail = fmt::format("{} messages of {}", *options_.max_turns, first.name())};
}

Stop Conversation::messages_used_up(const ConversableAgent& speaker, std::int64_t said) const {
  return Stop{.reason = StopReason::max_messages,
              .agent = speaker.name(),
              .rule = fmt::format("max_messages({})", options_.max_messages),
              .detail = fmt::format("{} messages", said)};
}

Stop Conversation::refuse_or_change(const ConversableAgent& from, const ConversableAgent& to,
                                    Message& message) {
  for (const auto& hook : from.options().hooks.process_message_before_send) {
    auto changed = guarded("process_message_before_send", from.name(),
                           [&] { return hook(from, to, std::move(message)); });
    if (!changed) return std::move(changed).error();
    message = std::move(*changed);
  }
  if (message.content.is_null() && !message.has_calls()) {
    return stop_from(
        Error{.code = ErrorCode::invalid_message,
              .message = fmt::format("{} was to say a message with neither content nor "
                                     "calls to {}",
                                     from.name(), to.name())},
        from.name());
  }
  return {};
}

MessagePtr Conversation::keep_on_both_sides(const ConversableAgent& from,
                                            const ConversableAgent& to, Message&& message) {
  MessagePtr said = store(as_kept(std::move(message), from.name(), Role::assistant));
  party(from).with(&to).add(said);
  party(to).with(&from).add(as_heard(said));
  return said;
}

Stop Conversation::pass_on(const ConversableAgent& from, const ConversableAgent& to,
                           Message message) {
  if (Stop stop = refuse_or_change(from, to, message)) return stop;
  keep_on_both_sides(from, to, std::move(message));
  return {};
}

void Conversation::add_to_transcript(const TranscriptEntry& entry) {
  transcript_.push_back(entry);
  session_.transcript().push_back(entry);
}

Stop Conversation::deliver(const ConversableAgent& from, const ConversableAgent& to,
                           Message&& message, MessageKind kind) {
  if (Stop stop = refuse_or_change(from, to, message)) return stop;
  give_call_ids(message, session_.transcript().size());
  keep(from, to, std::move(message), kind);
  return check(from.name(), false);
}

void Conversation::keep(const ConversableAgent& from, const ConversableAgent& to, Message&& message,
                        MessageKind kind) {
  tell(from, to, keep_on_both_sides(from, to, std::move(message)), kind);
}

Stop Conversation::announce(const ConversableAgent& from, const ConversableAgent& to,
                            MessagePtr said, MessageKind kind) {
  tell(from, to, std::move(said), kind);
  return check(from.name(), false);
}

void Conversation::tell(const ConversableAgent& from, const ConversableAgent& to, MessagePtr said,
                        MessageKind kind) {
  if (kind == MessageKind::reply && (*said)->has_calls()) kind = MessageKind::tool_call;
  add_to_transcript({.speaker = from.name(),
                     .recipient = to.name(),
                     .kind = kind,
                     .message = std::move(said),
                     .at = Instant{session_.effects().session_time()}});
  if (!options_.silent) notify([&] { return MessageAdded{transcript_.back()}; });
}

Reply Conversation::generate_reply(PartyState& self, const ConversableAgent* sender,
                                   const MessageList* messages,
                                   std::span<const BuiltInReply> exclude) {
  Dialogue& dialogue = self.with(sender);
  Turn turn{.self = self,
            .sender = sender,
            .dialogue = dialogue,
            .messages = messages != nullptr ? *messages : dialogue.history,
            .is_history = messages == nullptr};
  if (turn.messages.empty()) {
    return Reply::none(stop_from(Error{.code = ErrorCode::invalid_message,
                                       .message = self.agent.name() + " has nothing to answer"},
                                 self.agent.name()));
  }
  MessageList changed;
  if (Stop stop = apply_reply_hooks(turn, changed)) return Reply::none(std::move(stop));
  if (Stop stop = apply_transforms(turn, changed)) return Reply::none(std::move(stop));
  if (!changed.empty()) {
    turn.messages = changed;
    turn.is_history = false;
  }
  return first_final_reply(turn, exclude);
}

Stop Conversation::apply_reply_hooks(const Turn& turn, MessageList& changed) {
  const Hooks& hooks = turn.self.agent.options().hooks;
  if (hooks.process_last_received_message.empty() &&
      hooks.process_all_messages_before_reply.empty()) {
    return {};
  }
  changed.assign(turn.messages.begin(), turn.messages.end());
  const Message& last = **changed.back();
  if (!last.function_call && last.context.is_null() && !last.content.is_null() &&
      last.content != Content("exit")) {
    Content content = last.content;
    for (const auto& hook : hooks.process_last_received_message) {
      auto processed =
          guarded("process_last_received_message", turn.name(), [&] { return hook(content); });
      if (!processed) return std::move(processed).error();
      content = std::move(*processed);
    }
    if (content != last.content) {
      Message copy = last;
      copy.content = std::move(content);
      changed.back() = store(std::move(copy));
    }
  }
  for (const auto& hook : hooks.process_all_messages_before_reply) {
    auto processed = guarded("process_all_messages_before_reply", turn.name(),
                             [&] { return hook(std::move(changed)); });
    if (!processed) return std::move(processed).error();
    changed = std::move(*processed);
    if (changed.empty() ||
        std::any_of(changed.begin(), changed.end(), [](const auto& kept) { return !kept; })) {
      return callback_stop("process_all_messages_before_reply", turn.name(),
                           "an empty list, or one with a null message");
    }
  }
  return {};
}

Reply Conversation::first_final_reply(Turn& turn, std::span<const BuiltInReply> exclude) {
  // By index, and each function copied: one may register another while it runs.
  for (std::size_t i = 0; i < turn.self.replies.size(); ++i) {
    const BuiltInReply built_in = turn.self.replies[i].built_in;
    if (built_in != BuiltInReply::none) {
      if (std::find(exclude.begin(), exclude.end(), built_in) != exclude.end()) continue;
      if (Reply reply = built_in_reply(built_in, turn); reply.final) return reply;
    } else if (const ReplySlot slot = turn.self.replies[i]; slot.reply) {
      if (Reply reply = registered_reply(slot, turn); reply.final) return reply;
    }
  }
  return default_reply(turn);
}

Reply Conversation::registered_reply(const ReplySlot& slot, Turn& turn) {
  auto reply = guarded("reply function", turn.name(), [&]() -> Reply {
    const auto matched = slot.trigger.matches(turn.sender);
    if (!matched) return Reply::none(stop_from(matched.error(), turn.name()));
    if (!*matched) return Reply::pass();
    const CallContext call = context(turn.name(), Purpose::other);
    return slot.reply(
        ReplyRequest{session_, turn.self.agent, turn.sender, turn.messages, call, *this});
  });
  return reply ? std::move(*reply) : Reply::none(std::move(reply).error());
}

Reply Conversation::default_reply(const Turn& turn) {
  const auto& fallback = turn.self.agent.options().default_auto_reply;
  if (!fallback) return Reply::none({.reason = StopReason::no_reply, .agent = turn.name()});
  return Reply::say(Message{.role = Role::assistant, .content = *fallback},
                    MessageKind::default_reply);
}

Reply Conversation::built_in_reply(BuiltInReply built_in, Turn& turn) {
  switch (built_in) {
    case BuiltInReply::none:
      break;
    case BuiltInReply::check_termination:
      return check_termination_and_human_reply(turn);
    case BuiltInReply::function_call:
      return function_call_reply(turn);
    case BuiltInReply::tool_calls:
      return tool_calls_reply(turn);
    case BuiltInReply::code_execution:
      return code_execution_reply(turn);
    case BuiltInReply::model:
      return model_reply(turn);
  }
  return Reply::pass();
}

Result<std::string> Conversation::ask_human(PartyState& self, HumanSituation situation,
                                            const std::string& peer, std::string question) {
  const ConversableAgent& agent = self.agent;
  auto answer = ask_person(agent.options().human_input,
                           {.situation = situation,
                            .agent = agent.name(),
                            .peer = peer,
                            .text = question.empty() ? prompt_text(situation, agent.name(), peer)
                                                     : std::move(question)});
  if (answer) self.human_inputs.push_back(*answer);
  return answer;
}

Result<std::string> Conversation::ask_person(const HumanInput& person, HumanPrompt prompt) {
  notify([&] { return HumanAsked{prompt.agent, prompt.text}; });
  const auto ask = [&] {
    return call_on_worker(
        session_.runtime(),
        [input = person, prompt](const std::stop_token& stop, const TellProgress&) mutable {
          prompt.stop = stop;
          return input(prompt);
        },
        base_.deadline, base_.stop);
  };
  auto effect = session_.effects().effect<Result<std::string>>(
      EffectKind::human_input, prompt.agent, [&] { return prompt.text; }, ask, encode_text,
      decode_text);
  if (!effect) return fail(std::move(effect).error());
  if (*effect) notify([&] { return HumanAnswered{prompt.agent, **effect}; });
  return std::move(*effect);
}

Stop stop_from(Error error, const std::string& agent, StopReason otherwise) {
  Stop stop{.reason = otherwise, .agent = agent, .detail = error.message};
  switch (error.code) {
    case ErrorCode::budget_exhausted:
      stop.reason = StopReason::token_budget;
      break;
    case ErrorCode::cancelled:
      stop.reason = StopReason::cancelled;
      break;
    case ErrorCode::deadline_exceeded:
      stop.reason = StopReason::deadline;
      break;
    case ErrorCode::awaiting_human:
      stop.reason = StopReason::awaiting_human;
      break;
    case ErrorCode::replay_mismatch:
      stop.reason = StopReason::replay_mismatch;
      break;
    case ErrorCode::storage:
      stop.reason = StopReason::storage_error;
      break;
    case ErrorCode::invalid_message:
      stop.reason = StopReason::invalid_message;
      break;
    default:
      break;
  }
  stop.error = std::move(error);
  return stop;
}

Stop callback_stop(std::string_view what, const std::string& agent, std::string_view thrown) {
  return stop_from(Error{.code = ErrorCode::internal,
                         .message = fmt::format("{} of {} threw: {}", what, agent, thrown)},
                   agent, StopReason::callback_error);
}

}  // namespace moderato
