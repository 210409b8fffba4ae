#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include <moderato/termination/condition.hpp>

namespace moderato {

enum class Truth : std::uint8_t { no, yes, no_opinion };

/// What a rule is asked about: a message and all that was said before it.
class Moment {
 public:
  /// For check: the last of `said`, of which there may be none.
  Moment(const ConversationView& view, std::span<const TranscriptEntry> said)
      : view_(&view), said_(said), message_(said.empty() ? nullptr : &**said.back().message) {}
  /// For matches: one message of which nothing else is known.
  explicit Moment(const Message& message) : message_(&message) {}

  [[nodiscard]] const ConversationView* view() const noexcept { return view_; }
  [[nodiscard]] std::span<const TranscriptEntry> said() const noexcept { return said_; }
  /// The message, if a rule about words or speakers may look at it; else null.
  [[nodiscard]] const Message* own_words() const noexcept;
  /// Who said it: in check the speaker, in matches the name on the message.
  [[nodiscard]] std::string_view speaker() const noexcept;
  /// Its words as far as conditions may see them. Only with own_words().
  [[nodiscard]] std::string_view text() const;
  /// "message 4"; empty where no number is known.
  [[nodiscard]] std::string place() const;

 private:
  const ConversationView* view_ = nullptr;
  std::span<const TranscriptEntry> said_{};
  const Message* message_ = nullptr;
  mutable std::optional<std::string> text_{};  // made at first use, where it has to be made
};

struct Finding {
  Truth truth = Truth::no;
  // The rest only with `yes`.
  StopReason reason = StopReason::condition;
  std::string rule{};
  std::string detail{};
};

/// A predicate threw.
struct PredicateFailed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// How tightly the text of a rule holds together; decides where describe() needs parentheses.
enum class Binding : std::uint8_t { any, all, single };

struct Condition::Rule {
  std::string text;
  std::function<Finding(const Moment&)> find;
  Binding binding = Binding::single;
};

/// A rule that combines no others. Where `find` names no rule in what it finds, it is `text`.
[[nodiscard]] Condition make_rule(std::string text, std::function<Finding(const Moment&)> find);

/// `{"yes" or "no", reason, detail()}`; `detail` is only asked for if `holds`.
template <class Detail>
[[nodiscard]] Finding found_if(bool holds, StopReason reason, Detail&& detail) {
  if (!holds) return {};
  return {.truth = Truth::yes, .reason = reason, .detail = detail()};
}

/// A word or two as describe() shows it: in quotes, escaped.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace moderato
