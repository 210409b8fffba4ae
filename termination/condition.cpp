#include <fmt/core.h>

#include <moderato/core/json.hpp>
#include <moderato/termination/own_words.hpp>
#include <moderato/termination/rule.hpp>

namespace moderato {
namespace {

using Rule = Condition::Rule;

bool is_own(MessageKind kind) {
  return kind == MessageKind::reply || kind == MessageKind::human ||
         kind == MessageKind::default_reply;
}

// What a rule finds, with the name of the rule that found it.
Finding ask(const Rule& rule, const Moment& moment) {
  Finding found = rule.find(moment);
  if (found.truth == Truth::yes && found.rule.empty()) found.rule = rule.text;
  return found;
}

Condition combined(std::string text, Binding binding, std::function<Finding(const Moment&)> find) {
  return Condition(std::make_shared<const Rule>(Rule{std::move(text), std::move(find), binding}));
}

std::string part(const Condition& condition, Binding around) {
  const Rule& rule = *condition.rule();
  const bool plain = rule.binding == Binding::single || rule.binding == around;
  return plain ? rule.text : '(' + rule.text + ')';
}

}  // namespace

const Message* Moment::own_words() const noexcept {
  if (view_ == nullptr) return message_;
  return message_ != nullptr && is_own(said_.back().kind) ? message_ : nullptr;
}

std::string_view Moment::speaker() const noexcept {
  if (!said_.empty()) return said_.back().speaker;
  return message_ != nullptr ? std::string_view(message_->name) : std::string_view();
}

std::string_view Moment::text() const {
  if (text_) return *text_;
  const Content& content = message_->content;
  const bool raw = view_ == nullptr;
  if (content.is_text() && (raw || !may_quote(content.as_text()))) return content.as_text();
  text_ = raw ? content.text() : without_quotes(content.text());
  return *text_;
}

std::string Moment::place() const {
  return said_.empty() ? std::string() : fmt::format("message {}", said_.size());
}

std::string in_quotes(std::string_view text) {
  std::string literal;
  append_json_string(literal, text);
  return literal;
}

Condition make_rule(std::string text, std::function<Finding(const Moment&)> find) {
  return combined(std::move(text), Binding::single, std::move(find));
}

std::optional<Stop> Condition::check(const ConversationView& view) const {
  if (!rule_) return std::nullopt;
  const Moment moment(view, view.transcript);
  Stop stop{.agent = std::string(moment.speaker())};
  try {
    Finding found = ask(*rule_, moment);
    if (found.truth != Truth::yes) return std::nullopt;
    stop.reason = found.reason;
    stop.rule = std::move(found.rule);
    stop.detail = std::move(found.detail);
  } catch (const std::exception& error) {
    stop.reason = StopReason::callback_error;
    stop.rule = rule_->text;
    stop.detail = error.what();
    stop.error = Error{.code = ErrorCode::internal, .message = error.what()};
  }
  return stop;
}

bool Condition::matches(const Message& message) const {
  return rule_ && rule_->find(Moment(message)).truth == Truth::yes;
}

std::string Condition::describe() const {
  return rule_ ? rule_->text : "never";
}

// The operators follow Kleene's logic of three values: a missing opinion leaves the result open
// unless the other side decides it alone.

Condition operator|(Condition left, Condition right) {
  if (!left.rule_) return right;
  if (!right.rule_) return left;
  std::string text = part(left, Binding::any) + " | " + part(right, Binding::any);
  return combined(std::move(text), Binding::any, [left, right](const Moment& moment) {
    Finding first = ask(*left.rule_, moment);
    if (first.truth == Truth::yes) return first;
    Finding second = ask(*right.rule_, moment);
    if (second.truth == Truth::yes) return second;
    return first.truth == Truth::no_opinion ? first : second;
  });
}

Condition operator&(Condition left, Condition right) {
  if (!left.rule_ || !right.rule_) return {};
  std::string text = part(left, Binding::all) + " & " + part(right, Binding::all);
  return combined(text, Binding::all, [left, right, text](const Moment& moment) -> Finding {
    Finding first = left.rule_->find(moment);
    if (first.truth == Truth::no) return first;
    Finding second = right.rule_->find(moment);
    if (second.truth != Truth::yes) return second;
    if (first.truth != Truth::yes) return first;
    const bool alike = first.reason == second.reason;
    std::string detail = first.detail;
    if (second.detail != first.detail) detail += (detail.empty() ? "" : "; ") + second.detail;
    return {.truth = Truth::yes,
            .reason = alike ? first.reason : StopReason::condition,
            .rule = text,
            .detail = std::move(detail)};
  });
}

Condition operator!(Condition condition) {
  if (!condition.rule_) return always();
  return make_rule('!' + part(condition, Binding::single),
                   [condition](const Moment& moment) -> Finding {
                     switch (condition.rule_->find(moment).truth) {
                       case Truth::yes:
                         return {.truth = Truth::no};
                       case Truth::no:
                         return {.truth = Truth::yes, .detail = moment.place()};
                       case Truth::no_opinion:
                         break;
                     }
                     return {.truth = Truth::no_opinion};
                   });
}

Condition always() {
  return make_rule("always", [](const Moment& moment) -> Finding {
    return {.truth = Truth::yes, .detail = moment.place()};
  });
}

Condition never() {
  return {};
}

// Numbers are those of now; only the messages go back in time.
Condition ever(Condition condition) {
  if (!condition.rule()) return {};
  return make_rule("ever(" + condition.describe() + ')', [condition](const Moment& now) {
    Finding found = condition.rule()->find(now);
    for (std::size_t count = now.said().size(); count > 1 && found.truth != Truth::yes; --count) {
      found = condition.rule()->find(Moment(*now.view(), now.said().first(count - 1)));
    }
    found.rule.clear();
    if (found.truth == Truth::no_opinion && now.view() != nullptr) found.truth = Truth::no;
    return found;
  });
}

}  // namespace moderato
