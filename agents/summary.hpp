#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include <moderato/core/call_context.hpp>
#include <moderato/core/message.hpp>

namespace moderato {

class ConversableAgent;
class Session;

/// What a summary function is given. Borrowed for the time of the call.
struct SummaryRequest {
  Session& session;
  const ConversableAgent& sender;
  const ConversableAgent& recipient;
  const MessageList& messages;  ///< The conversation as the recipient has it.
  const CallContext& context;   ///< For model calls made on behalf of the conversation.
};

struct ReflectionOptions {
  /// The words that ask for the summary, sent last.
  std::string prompt = "Sum up what this conversation arrived at. Leave out any introduction.";
  Role role = Role::system;  ///< Of the prompt.
};

/// How a chat is summed up when it has ended.
class SummaryMethod {
 public:
  using Function = std::function<std::string(const SummaryRequest&)>;
  struct None {};
  struct LastMessage {};

  /// last_msg().
  SummaryMethod() : value_(LastMessage{}) {}
  SummaryMethod(None none) : value_(none) {}                                // NOLINT
  SummaryMethod(LastMessage last) : value_(last) {}                         // NOLINT
  SummaryMethod(ReflectionOptions options) : value_(std::move(options)) {}  // NOLINT
  template <class F>
  requires std::is_invocable_r_v<std::string, F&, const SummaryRequest&> SummaryMethod(F function)
      : value_(Function(std::move(function))) {}  // NOLINT

  [[nodiscard]] bool is_none() const noexcept { return std::holds_alternative<None>(value_); }
  [[nodiscard]] const ReflectionOptions* reflection() const noexcept {
    return std::get_if<ReflectionOptions>(&value_);
  }
  [[nodiscard]] const Function* function() const noexcept { return std::get_if<Function>(&value_); }

 private:
  std::variant<None, LastMessage, ReflectionOptions, Function> value_;
};

/// The summary is empty.
[[nodiscard]] inline SummaryMethod no_summary() {
  return SummaryMethod::None{};
}
/// The last message's text without the word TERMINATE.
[[nodiscard]] inline SummaryMethod last_msg() {
  return SummaryMethod::LastMessage{};
}
/// One more model call, by the recipient's model or else the sender's.
[[nodiscard]] inline SummaryMethod reflection_with_llm(ReflectionOptions options = {}) {
  return options;
}

/// The text of a last message as `last_msg` gives it: parts joined by newlines, each whole word
/// TERMINATE removed (INDETERMINATE stays), nothing trimmed.
[[nodiscard]] std::string last_message_summary(const Content& content);

}  // namespace moderato
