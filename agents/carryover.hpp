#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <moderato/core/call_context.hpp>
#include <moderato/core/message.hpp>

namespace moderato {

class ConversableAgent;

/// Words from earlier work that are added to the opening message of a chat: one text, or a list of
/// texts and messages. An empty text or list adds nothing; a list with an empty text adds the
/// heading.
class Carryover {
 public:
  using Item = std::variant<std::string, Message>;

  Carryover() = default;
  Carryover(const char* text) : Carryover(std::string(text)) {}     // NOLINT
  Carryover(std::string text);                                      // NOLINT
  Carryover(std::vector<std::string> texts);                        // NOLINT
  Carryover(std::vector<Item> items) : items_(std::move(items)) {}  // NOLINT
  Carryover(std::initializer_list<Item> items) : items_(items) {}

  [[nodiscard]] bool empty() const noexcept { return items_.empty(); }
  [[nodiscard]] const std::vector<Item>& items() const noexcept { return items_; }
  /// The texts of all items.
  [[nodiscard]] std::vector<std::string> texts() const;
  /// "\nContext: \n" and the items, one a line; empty without items.
  [[nodiscard]] std::string text() const;

 private:
  std::vector<Item> items_;
};

/// `message` with the carryover added: after a text, before the first part of a content of parts; a
/// message without content stays as it is.
[[nodiscard]] Message with_carryover(Message message, const Carryover& carryover);

/// What a function that makes the opening message is given.
struct OpeningRequest {
  const ConversableAgent& sender;
  const ConversableAgent& recipient;
  const Carryover& carryover;
  const CallContext& context;  ///< For model calls made on behalf of the conversation.
};

/// The opening message of a chat: a text, a whole message, a function that makes one, or the words
/// of the sender's human. The carryover is added to all but a function's message (which is given
/// it).
class ChatMessage {
 public:
  using Function = std::function<std::optional<Message>(const OpeningRequest&)>;

  ChatMessage(const char* text) : value_(Message::user(text)) {}                    // NOLINT
  ChatMessage(std::string text) : value_(Message::user(std::move(text))) {}         // NOLINT
  ChatMessage(std::string_view text) : value_(Message::user(std::string(text))) {}  // NOLINT
  ChatMessage(Message message) : value_(std::move(message)) {}                      // NOLINT
  /// nullopt: nothing is sent, the chat ends with `no_initial_message`.
  template <class F>
  requires std::is_invocable_r_v<std::optional<Message>, F&, const OpeningRequest&> ChatMessage(
      F function)
      : value_(Function(std::move(function))) {}  // NOLINT

  /// Asks the sender's human (HumanSituation::opening).
  [[nodiscard]] static ChatMessage ask_human() { return ChatMessage(Human{}); }

  /// Nothing is sent: the last message between the two is answered, and the chat goes on from there
  /// with histories and counters as they are. For a chat that ended with `awaiting_human`, a
  /// deadline, a budget or a failure. Needs a session in which the two have talked, else the chat
  /// ends with `no_initial_message`.
  [[nodiscard]] static ChatMessage go_on() { return ChatMessage(Unanswered{}); }

  [[nodiscard]] bool goes_on() const noexcept { return std::holds_alternative<Unanswered>(value_); }
  [[nodiscard]] const Message* message() const noexcept { return std::get_if<Message>(&value_); }
  [[nodiscard]] const Function* function() const noexcept { return std::get_if<Function>(&value_); }

 private:
  struct Human {};
  struct Unanswered {};
  explicit ChatMessage(Human human) : value_(human) {}
  explicit ChatMessage(Unanswered unanswered) : value_(unanswered) {}
  std::variant<Message, Function, Human, Unanswered> value_;
};

}  // namespace moderato
