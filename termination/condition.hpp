#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/budget.hpp>
#include <moderato/core/message.hpp>
#include <moderato/core/stop.hpp>
#include <moderato/core/time.hpp>
#include <moderato/core/transcript.hpp>
#include <moderato/core/usage.hpp>
#include <moderato/termination/repetition.hpp>

namespace moderato {

/// All that a condition may look at: one conversation at one moment. Borrowed; conditions are asked
/// after every message and before every model call.
struct ConversationView {
  const Transcript& transcript;
  /// Completed turns: a message of the initiator together with the answer to it.
  std::int64_t turns = 0;
  /// Model calls made on the conversation's behalf, summaries and selections included.
  std::int64_t calls = 0;
  Usage usage{};                ///< Of those calls.
  Duration elapsed{};           ///< Since the conversation began.
  bool stop_requested = false;  ///< The conversation's own stop token was triggered.
  /// What recorded effects say is being repeated: rules that look outside (external_stop(token))
  /// find nothing, because where they fired is in the recording.
  bool replaying = false;
  /// Set by such a rule when it finds something, so that it is recorded; null: nobody records.
  bool* outside_seen = nullptr;
  bool before_model_call = false;  ///< A call is about to be made; else: a message was just said.
  /// The call is one of work inside the conversation: of a tool, a nested chat, an agent of a
  /// graph. Several of those may ask at once, from several threads.
  bool inside = false;
  const TokenBudget* budget = nullptr;  ///< The hard bound of the conversation; null: none.
  Instant now{};                        ///< On the runtime's clock.
};

class Condition;

template <class F>
concept MessagePredicate = std::predicate<const F&, const Message&> && !std::same_as<F, Condition>;
template <class F>
concept ViewPredicate = !MessagePredicate<F> && !std::same_as<F, Condition> &&
                        std::predicate<const F&, const ConversationView&>;

/// When a conversation ends. An immutable value: cheap to copy, without state of its own, safe to
/// use from any thread and in any number of conversations. Conditions combine: `a | b`, `a & b`,
/// `!a`. One condition can be asked in two ways.
///
/// `check(view)`, for the `termination` of a chat, looks at the *agents' own words*: at the last
/// message if it is a reply, a person's words or a default reply. It has no opinion about the task,
/// tool calls, tool results and code output, so a web page that says TERMINATE ends nothing. Quoted
/// text is left out before words are compared: fenced code blocks and "> " quotes.
///
/// `matches(message)`, for `is_termination_msg`, has AutoGen's meaning: one received message of
/// whatever kind, with all of its text (Message::text()). Rules about the conversation as a whole
/// (numbers, time, repetition) have no opinion there.
///
/// "No opinion" is neither true nor false: negated it stays what it is, `|` and `&` treat it as
/// three-valued logic does, and it ends nothing. So `!contains("CONTINUE")` asks every reply, but
/// is not satisfied by a tool result.
///
/// AutoGen 0.4's eleven conditions are written like this:
///
///     MaxMessageTermination(n)             max_messages(n)
///     TextMentionTermination(t, [a, b])    contains(t) & said_by("a", "b")
///     StopMessageTermination()             equals("TERMINATE"), or what your agents say to stop
///     TokenUsageTermination(n, p, c)       token_budget({.total = n, .input = p, .output = c})
///     HandoffTermination(t)                tool_called("transfer_to_" + t)
///     TimeoutTermination(s)                elapsed(s)
///     ExternalTermination()                external_stop(), external_stop(token)
///     SourceMatchTermination([a, b])       said_by("a", "b")
///     TextMessageTermination(a)            no_tool_calls() & said_by(a)
///     FunctionCallTermination(f)           tool_called(f)
///     FunctionalTermination(f)             any lambda over a Message or a ConversationView
///
/// Their `a & b` remembers what was true before; here that is `ever(a) & ever(b)`.
class Condition {
 public:
  struct Rule;

  /// Never true.
  Condition() = default;
  /// A predicate over a message (agents' own words only, in check) or over the whole view.
  template <MessagePredicate F>
  Condition(F f);  // NOLINT: a lambda is a natural condition
  template <ViewPredicate F>
  Condition(F f);  // NOLINT

  /// The reason to stop now: which rule, who spoke last, which numbers. A predicate that throws
  /// gives a Stop with callback_error.
  [[nodiscard]] std::optional<Stop> check(const ConversationView& view) const;
  /// The rule over this one message. A predicate that throws makes it throw std::runtime_error,
  /// with the predicate's name and words.
  [[nodiscard]] bool matches(const Message& message) const;
  /// `(contains("DONE") & said_by("critic")) | max_messages(20)`; "never" for Condition().
  [[nodiscard]] std::string describe() const;

  /// The first that is true, from the left, gives the Stop.
  friend Condition operator|(Condition left, Condition right);
  friend Condition operator&(Condition left, Condition right);
  friend Condition operator!(Condition condition);

  /// For the functions below.
  explicit Condition(std::shared_ptr<const Rule> rule) : rule_(std::move(rule)) {}
  [[nodiscard]] const std::shared_ptr<const Rule>& rule() const noexcept { return rule_; }

 private:
  std::shared_ptr<const Rule> rule_;  // null: never
};

[[nodiscard]] Condition always();
[[nodiscard]] Condition never();

// Words. Case sensitive; null content is ""; the texts of content parts are joined.

[[nodiscard]] Condition contains(std::string text);
/// The whole text, without any trimming.
[[nodiscard]] Condition equals(std::string text);
/// Whitespace at the end of the message is left out.
[[nodiscard]] Condition ends_with(std::string text);
/// Found anywhere in the text; RE2 syntax (linear time; no back references, no look-around). Throws
/// std::invalid_argument with the reason if the pattern is wrong.
[[nodiscard]] Condition regex(std::string_view pattern);
/// A lambda with a name for describe(); see the constructors.
[[nodiscard]] Condition predicate(std::string name, std::function<bool(const Message&)> holds);
[[nodiscard]] Condition view_predicate(std::string name,
                                       std::function<bool(const ConversationView&)> holds);

// Who, and with which calls.

/// In check: one of these agents has spoken; in matches: the message's `name` is one of them.
[[nodiscard]] Condition said_by(std::vector<std::string> names);
template <std::convertible_to<std::string>... Names>
requires(sizeof...(Names) > 0) [[nodiscard]] Condition said_by(Names&&... names) {
  return said_by(std::vector<std::string>{std::string(std::forward<Names>(names))...});
}
/// In check: the last message answers a call of this tool, so no call is left unanswered; in
/// matches: the message calls it.
[[nodiscard]] Condition tool_called(std::string name);
/// The message has no `tool_calls`: every text of an agent's own.
[[nodiscard]] Condition no_tool_calls();

// Numbers: "at least". Each throws std::invalid_argument for a negative bound. They are asked
// between effects and interrupt none; for bounds that hold while a call is under way use
// ChatOptions (token_budget, deadline, stop).

/// Messages said, the task included. StopReason::max_messages.
[[nodiscard]] Condition max_messages(std::int64_t count);
/// Completed turns (ConversationView::turns). StopReason::max_turns.
[[nodiscard]] Condition max_turns(std::int64_t count);
/// Model calls. Waits until calls of tools are answered. StopReason::max_calls.
[[nodiscard]] Condition max_calls(std::int64_t count);

/// Tokens; an unset bound does not count.
struct TokenCaps {
  std::optional<std::int64_t> total{};
  std::optional<std::int64_t> input{};
  std::optional<std::int64_t> output{};
};
/// Tokens used so far have reached one of the bounds. Unlike ChatOptions::token_budget it is a
/// report, not a bound: the last call may go beyond it. Waits until calls of tools are answered.
/// StopReason::token_budget. Throws std::invalid_argument if no bound is set.
[[nodiscard]] Condition token_budget(TokenCaps caps);
[[nodiscard]] Condition token_budget(std::int64_t total);
/// Since the conversation began. StopReason::deadline.
[[nodiscard]] Condition elapsed(Duration limit);
/// On the runtime's clock. StopReason::deadline.
[[nodiscard]] Condition deadline(Instant at);

// From outside, and over time.

/// The conversation's own stop token was triggered. StopReason::cancelled.
[[nodiscard]] Condition external_stop();
/// `token` was triggered. StopReason::cancelled.
[[nodiscard]] Condition external_stop(std::stop_token token);
/// The conversation repeats itself `options.stop_after` times (see repetition.hpp).
/// StopReason::repetition.
[[nodiscard]] Condition repetition(RepetitionOptions options = {});
/// `condition` holds for the last message or held for an earlier one; numbers are those of now.
/// Looks at the whole transcript each time it is asked.
[[nodiscard]] Condition ever(Condition condition);

template <MessagePredicate F>
Condition::Condition(F f) : Condition(predicate("predicate", std::move(f))) {}
template <ViewPredicate F>
Condition::Condition(F f) : Condition(view_predicate("predicate", std::move(f))) {}

}  // namespace moderato
