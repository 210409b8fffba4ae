#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <moderato/agents/conversable_agent.hpp>
#include <moderato/agents/reply_function.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/session.hpp>

namespace moderato {

struct PartyState;

struct GenerateReplyOptions {
  /// What to answer; empty: the history with `sender`.
  std::vector<Message> messages{};
  /// Who spoke last; null: nobody (then `messages` must be given).
  const ConversableAgent* sender = nullptr;
  /// Built-in reply functions that are not asked.
  std::vector<BuiltInReply> exclude{};
};

/// One agent in one session: what it has heard and said there, and everything about it that can be
/// changed for this session without touching the agent. A cheap view on the session, which must
/// outlive it. Not thread safe, like the session.
///
///   Session session(runtime);
///   Party alice(session, assistant);
///   alice.update_system_message("You are a poet.");
///   user.initiate_chat(assistant, "Write a haiku.", {.session = &session});
///   fmt::print("{}\n", alice.last_message(user).value()->text());
class Party {
 public:
  Party(Session& session, const ConversableAgent& agent);

  [[nodiscard]] const ConversableAgent& agent() const noexcept;

  /// The messages with a peer, as this side has them; empty if there are none.
  [[nodiscard]] const MessageList& history(const ConversableAgent& peer) const;
  /// Everybody with whom there is a history, in the order in which they met.
  [[nodiscard]] std::vector<ConversableAgent> peers() const;
  /// The newest message with a peer. Error invalid_request: the two have not talked.
  [[nodiscard]] Result<MessagePtr> last_message(const ConversableAgent& peer) const;
  /// The newest message of the only conversation; null if there is none. Error invalid_request:
  /// there are several.
  [[nodiscard]] Result<MessagePtr> last_message() const;
  /// Automatic replies in a row to a peer.
  [[nodiscard]] std::int64_t consecutive_auto_replies(const ConversableAgent& peer) const;
  [[nodiscard]] std::int64_t max_consecutive_auto_reply(const ConversableAgent& peer) const;
  /// What this agent's human typed, in order.
  [[nodiscard]] const std::vector<std::string>& human_inputs() const noexcept;
  [[nodiscard]] std::string system_message() const;

  void update_system_message(std::string text);
  /// For every peer.
  void update_max_consecutive_auto_reply(std::int64_t value);
  void update_max_consecutive_auto_reply(std::int64_t value, const ConversableAgent& peer);
  void register_reply(ReplyRegistration registration);
  /// Forgets the talk with one peer.
  void clear_history(const ConversableAgent& peer);
  /// Forgets everything but the newest `keep` messages of each talk; one more where the oldest kept
  /// one answers a tool call, so that call and answer stay together.
  void clear_history(std::size_t keep = 0);
  /// Forgets all histories and counters, and that conversations are open.
  void reset();

  /// Says something outside initiate_chat. `request_reply` nullopt: the recipient answers if a chat
  /// without max_turns has left the two in conversation; then it goes on until one of them ends it.
  /// The stop is empty (StopReason::none) if nothing ended it: no reply was wanted. Of the options
  /// only bounds, observer and streaming are looked at; max_turns is not.
  Stop send(const ConversableAgent& recipient, Message message,
            std::optional<bool> request_reply = std::nullopt, ChatOptions options = {});
  /// What the agent would answer; nothing is stored. Error invalid_request: neither messages nor a
  /// sender; else the failure that prevented a reply. nullopt: no reply.
  [[nodiscard]] Result<std::optional<Message>> generate_reply(GenerateReplyOptions options = {});

 private:
  Session* session_;
  PartyState* state_;
};

}  // namespace moderato
