#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/call_context.hpp>
#include <moderato/core/message.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/stop.hpp>
#include <moderato/core/transcript.hpp>

namespace moderato {

class ConversableAgent;
class Conversation;
class Session;

/// What a reply function decides: nothing (the next one is asked), a message, or that there is no
/// reply, which ends the chat.
struct Reply {
  bool final = false;
  std::optional<Message> message{};
  /// How the message enters the transcript.
  MessageKind kind = MessageKind::reply;
  /// Why the chat ends. With a message: it is said, then the chat ends. Left empty where there is
  /// no message: StopReason::no_reply.
  Stop stop{};

  /// "Not me": the next reply function is asked.
  [[nodiscard]] static Reply pass() { return {}; }
  [[nodiscard]] static Reply say(std::string text) {
    return {.final = true, .message = Message::assistant(std::move(text))};
  }
  [[nodiscard]] static Reply say(Message message, MessageKind kind = MessageKind::reply) {
    return {.final = true, .message = std::move(message), .kind = kind};
  }
  /// No reply: the chat ends.
  [[nodiscard]] static Reply none(Stop why = {}) { return {.final = true, .stop = std::move(why)}; }
};

/// What a reply function sees. Borrowed for the time of the call.
struct ReplyRequest {
  Session& session;
  const ConversableAgent& agent;   ///< Who is to reply.
  const ConversableAgent* sender;  ///< Who spoke last; null if nobody did.
  std::span<const MessagePtr>
      messages;                ///< As the hooks left them; the last one is to be answered.
  const CallContext& context;  ///< For model calls made on behalf of the conversation.
  Conversation& conversation;  ///< For the library's own reply functions.
};

/// A user's reply function. Runs on the conversation's fiber; what it throws ends the chat with
/// `callback_error`.
using ReplyFunction = std::function<Reply(const ReplyRequest&)>;

/// For whose messages a reply function is asked. Made from a name, an agent, a predicate over the
/// sender, or a list of triggers of which one must match.
class Trigger {
 public:
  /// Any sender, and also none.
  Trigger() = default;
  Trigger(const char* name) : Trigger(std::string(name)) {}  // NOLINT
  /// The sender with this name. Without a sender generate_reply fails (invalid_request).
  Trigger(std::string name);              // NOLINT
  Trigger(const ConversableAgent& peer);  // NOLINT: this agent itself, not one of the same name
  /// `matches(sender)`; asked only when there is a sender.
  Trigger(std::function<bool(const ConversableAgent&)> matches);  // NOLINT
  Trigger(std::vector<Trigger> any_of);                           // NOLINT

  [[nodiscard]] static Trigger any_sender();
  /// Matches only when nobody sent the messages.
  [[nodiscard]] static Trigger no_sender();

  /// Error invalid_request: a name, and no sender.
  [[nodiscard]] Result<bool> matches(const ConversableAgent* sender) const;

 private:
  std::function<Result<bool>(const ConversableAgent*)> matches_;  // null: always
};

/// The library's own reply functions.
enum class BuiltInReply : std::uint8_t {
  none,
  check_termination,  ///< Termination rule, cap, human input.
  function_call,      ///< Answers a legacy function call.
  tool_calls,         ///< Answers tool calls.
  code_execution,     ///< Runs code; in the list of agents that have an executor.
  model,              ///< Asks the agent's model.
};

/// A reply function and its place.
struct ReplyRegistration {
  ReplyFunction reply{};
  Trigger trigger{};
  /// AutoGen's list positions, in which each built-in function takes two places: 0 and 1 come
  /// before the termination check, 2 right after it, 3 and 4 between function and tool calls, 6
  /// before the model, anything beyond the end comes last. A later registration at the same
  /// position comes first. A function that always replies at 0 or 1 is asked instead of the
  /// termination check: then only the bounds of the chat end it (ChatOptions).
  std::size_t position = 0;
  /// Removes every other reply function, the built-in ones included.
  bool remove_other_reply_funcs = false;
};

/// One place in an agent's list of reply functions: a built-in, a user's, or (both empty) the
/// second place of a built-in.
struct ReplySlot {
  BuiltInReply built_in = BuiltInReply::none;
  ReplyFunction reply{};
  Trigger trigger{};
};

/// The list every agent starts with.
[[nodiscard]] std::vector<ReplySlot> built_in_replies(bool with_code_execution = false);
/// Puts a registration where it says.
void insert_reply(std::vector<ReplySlot>& slots, ReplyRegistration registration);

/// Functions that change messages on their way, each in order of the list. What one throws ends the
/// chat with `callback_error`. None of them changes what is stored, except the first, which runs
/// before storing.
struct Hooks {
  /// Before a message is stored on both sides.
  std::vector<std::function<Message(const ConversableAgent& sender,
                                    const ConversableAgent& recipient, Message message)>>
      process_message_before_send{};
  /// On the content of the last message before a reply is made, for this reply only; skipped for a
  /// function call, a message with `context`, null content, and the word "exit".
  std::vector<std::function<Content(const Content& last)>> process_last_received_message{};
  /// On all messages before a reply is made: every reply function of this turn sees the result.
  std::vector<std::function<MessageList(MessageList messages)>> process_all_messages_before_reply{};
};

}  // namespace moderato
