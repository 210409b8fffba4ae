#include <fmt/core.h>
#include <fmt/ranges.h>
#include <re2/re2.h>

#include <algorithm>
#include <stdexcept>

#include <moderato/termination/rule.hpp>

namespace moderato {
namespace {

// A rule over one message: no opinion where it may not look.
template <class Holds>
Condition message_rule(std::string text, Holds holds) {
  return make_rule(std::move(text), [holds = std::move(holds)](const Moment& moment) -> Finding {
    if (moment.own_words() == nullptr) return {.truth = Truth::no_opinion};
    return found_if(holds(moment), StopReason::condition, [&] { return moment.place(); });
  });
}

// What the predicate throws is told with its name; not only exceptions can be thrown.
template <class Value>
bool asked(const std::string& name, const std::function<bool(const Value&)>& holds,
           const Value& value) {
  try {
    return holds(value);
  } catch (const std::exception& error) {
    throw PredicateFailed(fmt::format("{} threw: {}", name, error.what()));
  } catch (...) {
    throw PredicateFailed(name + " threw something that is no std::exception");
  }
}

bool calls_tool(const Message& message, const std::string& name) {
  if (message.function_call && message.function_call->name == name) return true;
  return std::any_of(message.tool_calls.begin(), message.tool_calls.end(),
                     [&](const ToolCall& call) { return call.name == name; });
}

// The name of the tool that gave an answer: answers carry an id, the calls before them the name.
// Calls without an id are answered in their order.
std::string_view tool_of(const Message& answer, std::size_t index, const Message& calls) {
  const ToolResponse& response = answer.tool_responses[index];
  if (!response.name.empty()) return response.name;
  for (const ToolCall& call : calls.tool_calls) {
    if (!call.id.empty() && call.id == response.tool_call_id) return call.name;
  }
  if (!response.tool_call_id.empty() || index >= calls.tool_calls.size()) return {};
  return calls.tool_calls[index].name;
}

bool answers_tool(std::span<const TranscriptEntry> said, const std::string& name) {
  const Message& answer = **said.back().message;
  if (answer.role == Role::function) return answer.name == name;
  const auto calls = std::find_if(said.rbegin() + 1, said.rend(), [](const TranscriptEntry& entry) {
    return (*entry.message)->has_calls();
  });
  if (calls == said.rend()) return false;
  for (std::size_t i = 0; i < answer.tool_responses.size(); ++i) {
    if (tool_of(answer, i, **calls->message) == name) return true;
  }
  return false;
}

std::string_view without_trailing_space(std::string_view text) {
  // What Python's str.rstrip removes, within ASCII.
  const std::size_t last = text.find_last_not_of(" \t\n\r\f\v\x1c\x1d\x1e\x1f");
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

}  // namespace

Condition contains(std::string text) {
  std::string name = fmt::format("contains({})", in_quotes(text));
  return message_rule(std::move(name), [text = std::move(text)](const Moment& moment) {
    return moment.text().find(text) != std::string_view::npos;
  });
}

Condition equals(std::string text) {
  std::string name = fmt::format("equals({})", in_quotes(text));
  return message_rule(std::move(name), [text = std::move(text)](const Moment& moment) {
    return moment.text() == text;
  });
}

Condition ends_with(std::string text) {
  std::string name = fmt::format("ends_with({})", in_quotes(text));
  return message_rule(std::move(name), [text = std::move(text)](const Moment& moment) {
    return without_trailing_space(moment.text()).ends_with(text);
  });
}

Condition regex(std::string_view pattern) {
  RE2::Options options;
  options.set_log_errors(false);
  auto compiled =
      std::make_shared<const RE2>(re2::StringPiece(pattern.data(), pattern.size()), options);
  if (!compiled->ok()) {
    throw std::invalid_argument(
        fmt::format("the pattern {} is wrong: {}", in_quotes(pattern), compiled->error()));
  }
  return make_rule(fmt::format("regex({})", in_quotes(pattern)),
                   [compiled = std::move(compiled)](const Moment& moment) -> Finding {
                     if (moment.own_words() == nullptr) return {.truth = Truth::no_opinion};
                     const re2::StringPiece text(moment.text().data(), moment.text().size());
                     re2::StringPiece match;
                     const bool found =
                         compiled->Match(text, 0, text.size(), RE2::UNANCHORED, &match, 1);
                     return found_if(found, StopReason::condition, [&] {
                       return fmt::format("{}: {}", moment.place(),
                                          in_quotes(std::string_view(match.data(), match.size())));
                     });
                   });
}

Condition predicate(std::string name, std::function<bool(const Message&)> holds) {
  if (!holds) throw std::invalid_argument(name + ": no function");
  std::string text = name;
  return message_rule(std::move(text),
                      [name = std::move(name), holds = std::move(holds)](const Moment& moment) {
                        return asked(name, holds, *moment.own_words());
                      });
}

Condition view_predicate(std::string name, std::function<bool(const ConversationView&)> holds) {
  if (!holds) throw std::invalid_argument(name + ": no function");
  std::string text = name;
  return make_rule(
      std::move(text),
      [name = std::move(name), holds = std::move(holds)](const Moment& moment) -> Finding {
        if (moment.view() == nullptr) return {.truth = Truth::no_opinion};
        return found_if(asked(name, holds, *moment.view()), StopReason::condition,
                        [&] { return moment.place(); });
      });
}

Condition said_by(std::vector<std::string> names) {
  std::vector<std::string> names_in_quotes;
  for (const std::string& name : names) names_in_quotes.push_back(in_quotes(name));
  return message_rule(fmt::format("said_by({})", fmt::join(names_in_quotes, ", ")),
                      [names = std::move(names)](const Moment& moment) {
                        return std::find(names.begin(), names.end(), moment.speaker()) !=
                               names.end();
                      });
}

Condition tool_called(std::string name) {
  std::string text = fmt::format("tool_called({})", in_quotes(name));
  return make_rule(std::move(text), [name = std::move(name)](const Moment& moment) -> Finding {
    const auto place = [&] { return moment.place(); };
    if (moment.view() == nullptr) {
      return found_if(calls_tool(*moment.own_words(), name), StopReason::condition, place);
    }
    if (moment.said().empty() || moment.said().back().kind != MessageKind::tool_result) return {};
    return found_if(answers_tool(moment.said(), name), StopReason::condition, place);
  });
}

Condition no_tool_calls() {
  return message_rule("no_tool_calls",
                      [](const Moment& moment) { return moment.own_words()->tool_calls.empty(); });
}

}  // namespace moderato
