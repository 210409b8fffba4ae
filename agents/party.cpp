#include <moderato/agents/party.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>

#include <moderato/agents/chat.hpp>
#include <moderato/agents/conversation.hpp>

namespace moderato {

Party::Party(Session& session, const ConversableAgent& agent)
    : session_(&session), state_(&session.part<Parties>()[agent]) {}

const ConversableAgent& Party::agent() const noexcept {
  return state_->agent;
}

const MessageList& Party::history(const ConversableAgent& peer) const {
  static const MessageList none;
  const Dialogue* dialogue = state_->find(&peer);
  return dialogue != nullptr ? dialogue->history : none;
}

std::vector<ConversableAgent> Party::peers() const {
  std::vector<ConversableAgent> peers;
  for (const auto& dialogue : state_->dialogues) {
    if (dialogue->met && dialogue->peer) peers.push_back(*dialogue->peer);
  }
  return peers;
}

Result<MessagePtr> Party::last_message(const ConversableAgent& peer) const {
  const MessageList& messages = history(peer);
  if (!messages.empty()) return messages.back();
  return fail(ErrorCode::invalid_request, fmt::format("{} and {} have not talked in this session",
                                                      state_->agent.name(), peer.name()));
}

Result<MessagePtr> Party::last_message() const {
  const std::vector<ConversableAgent> met = peers();
  if (met.empty()) return MessagePtr();
  if (met.size() == 1) return last_message(met.front());
  return fail(ErrorCode::invalid_request,
              fmt::format("{} has talked with {} agents: say whose last message you want",
                          state_->agent.name(), met.size()));
}

std::int64_t Party::consecutive_auto_replies(const ConversableAgent& peer) const {
  const Dialogue* dialogue = state_->find(&peer);
  return dialogue != nullptr ? dialogue->auto_replies : 0;
}

std::int64_t Party::max_consecutive_auto_reply(const ConversableAgent& peer) const {
  const Dialogue* dialogue = state_->find(&peer);
  return dialogue != nullptr ? state_->cap_for(*dialogue) : state_->cap;
}

const std::vector<std::string>& Party::human_inputs() const noexcept {
  return state_->human_inputs;
}

std::string Party::system_message() const {
  return (*state_->system)->text();
}

void Party::update_system_message(std::string text) {
  state_->system = store(Message::system(std::move(text)));
}

void Party::update_max_consecutive_auto_reply(std::int64_t value) {
  state_->cap = value;
  for (const auto& dialogue : state_->dialogues) dialogue->cap.reset();
}

void Party::update_max_consecutive_auto_reply(std::int64_t value, const ConversableAgent& peer) {
  state_->with(&peer).cap = value;
}

void Party::register_reply(ReplyRegistration registration) {
  insert_reply(state_->replies, std::move(registration));
}

void Party::clear_history(const ConversableAgent& peer) {
  Dialogue& dialogue = state_->with(&peer);
  dialogue.forget();
  dialogue.met = true;
}

void Party::clear_history(std::size_t keep) {
  state_->forget_all_but(keep);
}

void Party::reset() {
  clear_history();
  for (const auto& dialogue : state_->dialogues) {
    dialogue->auto_replies = 0;
    dialogue->reply_at_receive = false;
  }
}

Stop Party::send(const ConversableAgent& recipient, Message message,
                 std::optional<bool> request_reply, ChatOptions options) {
  if (recipient == state_->agent) {
    throw std::invalid_argument(fmt::format("{} cannot talk to itself", recipient.name()));
  }
  options.max_turns.reset();
  options.session = session_;
  options.summary_method = no_summary();
  check_chat(state_->agent, recipient, options);
  return session_->runtime().block_on([&] {
    Conversation conversation(*session_, options);
    return conversation.exchange(state_->agent, recipient, std::move(message), MessageKind::task,
                                 request_reply);
  });
}

Result<std::optional<Message>> Party::generate_reply(GenerateReplyOptions options) {
  if (options.messages.empty() && options.sender == nullptr) {
    return fail(ErrorCode::invalid_request,
                fmt::format("{} can answer given messages, or a sender's: give one of the two",
                            state_->agent.name()));
  }
  MessageList given;
  for (Message& message : options.messages) given.push_back(store(std::move(message)));
  Reply reply = session_->runtime().block_on([&] {
    const ChatOptions unbounded;
    Conversation conversation(*session_, unbounded);
    return conversation.generate_reply(*state_, options.sender, given.empty() ? nullptr : &given,
                                       options.exclude);
  });
  if (!reply.message && reply.stop.error) return fail(std::move(*reply.stop.error));
  return std::move(reply.message);
}

}  // namespace moderato
