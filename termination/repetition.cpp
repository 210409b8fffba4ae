#include <moderato/termination/repetition.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>

#include <moderato/core/json.hpp>
#include <moderato/termination/words.hpp>

namespace moderato {
namespace {

// How repetition is found
//
// Comparing each message with all earlier ones costs O(n) a message, and finds what is no loop: an
// agent may well say "Done." in two far-apart places. A loop is a repetition that *ends with the
// newest message*, so it is enough to walk backwards from there for as long as the pattern holds,
// within a window of a few dozen messages. Nearly always the first comparison fails and the walk is
// over.
//
// Example: max_cycle 6, thresholds 2 and 3 make a window of 24 messages. Talk that goes
// A:x B:y A:z B:y A:x B:y A:z B:y is a cycle of 4 with one repeat: message i is the same as message
// i - 4 for the last four i. B's "same message" has three repeats in it, so that is what is
// reported.

using Entries = std::span<const TranscriptEntry>;

const Message& message_of(const TranscriptEntry& entry) {
  return **entry.message;
}

bool is_result(const TranscriptEntry& entry) {
  return entry.kind == MessageKind::tool_result || entry.kind == MessageKind::code_result;
}

// What an agent said of its own accord, as opposed to the task, a person's words and default
// replies.
bool is_saying(const TranscriptEntry& entry) {
  return entry.kind == MessageKind::reply || entry.kind == MessageKind::tool_call;
}

// Ids of calls differ each time, so they are left out.
bool same_message(const TranscriptEntry& one, const TranscriptEntry& two) {
  if (one.speaker != two.speaker || one.kind != two.kind) return false;
  const Message& a = message_of(one);
  const Message& b = message_of(two);
  const auto same_call = [](const ToolCall& x, const ToolCall& y) {
    return x.name == y.name && x.arguments == y.arguments;
  };
  const auto same_answer = [](const ToolResponse& x, const ToolResponse& y) {
    return x.content == y.content;
  };
  return a.content == b.content && a.refusal == b.refusal && a.function_call == b.function_call &&
         std::ranges::equal(a.tool_calls, b.tool_calls, same_call) &&
         std::ranges::equal(a.tool_responses, b.tool_responses, same_answer);
}

bool is_poll(const TranscriptEntry& entry, const RepetitionOptions& options) {
  const Message& message = message_of(entry);
  const auto repeatable = [&](const std::string& name) {
    return std::ranges::find(options.repeatable_tools, name) != options.repeatable_tools.end();
  };
  if (message.function_call) return repeatable(message.function_call->name);
  return !message.tool_calls.empty() &&
         std::ranges::all_of(message.tool_calls, repeatable, &ToolCall::name);
}

std::string shortened(std::string_view text) {
  constexpr std::size_t most = 120;
  std::string literal;
  if (text.size() > most) {
    text = text.substr(0, most);
    while (!text.empty() && !is_valid_utf8(text)) text.remove_suffix(1);
    append_json_string(literal, text);
    return literal + "…";
  }
  append_json_string(literal, text);
  return literal;
}

std::string evidence_of(const TranscriptEntry& entry) {
  const Message& message = message_of(entry);
  if (message.function_call) {
    return fmt::format("{}({})", message.function_call->name, message.function_call->arguments);
  }
  std::string calls;
  for (const ToolCall& call : message.tool_calls) {
    calls += fmt::format("{}{}({})", calls.empty() ? "" : ", ", call.name, call.arguments);
  }
  return shortened(calls.empty() ? message.text() : calls);
}

// The newest saying and what came of it, against the speaker's sayings before it. A text whose
// result is not there yet is compared by its words, and its elders also by their results: code that
// prints something new each time makes progress.
std::optional<Repetition> same_saying(Entries said, const RepetitionOptions& options, int needed) {
  std::size_t newest = said.size() - 1;
  const TranscriptEntry* outcome = nullptr;
  if (is_result(said[newest]) && newest > 0) outcome = &said[newest--];
  const TranscriptEntry& saying = said[newest];
  const bool unanswered_call = saying.kind == MessageKind::tool_call && outcome == nullptr;
  if (!is_saying(saying) || unanswered_call || is_poll(saying, options)) return std::nullopt;

  const bool needs_outcome = outcome != nullptr;
  int repeats = 0;
  for (std::size_t i = newest; i-- > 0;) {
    const TranscriptEntry& earlier = said[i];
    if (earlier.speaker != saying.speaker || is_result(earlier)) continue;
    if (!same_message(earlier, saying)) break;
    const TranscriptEntry* came = is_result(said[i + 1]) ? &said[i + 1] : nullptr;
    if (needs_outcome && came == nullptr) break;
    if (came != nullptr && outcome != nullptr && !same_message(*came, *outcome)) break;
    if (outcome == nullptr) outcome = came;
    ++repeats;
  }
  if (repeats < needed) return std::nullopt;
  return Repetition{
      .pattern = saying.kind == MessageKind::tool_call ? "same tool call" : "same message",
      .agent = saying.speaker,
      .repeats = repeats,
      .evidence = evidence_of(saying)};
}

// `length` messages, again and again.
std::optional<Repetition> cycle(Entries said, std::size_t length, const RepetitionOptions& options,
                                int needed) {
  if (said.size() < 2 * length || said.back().kind == MessageKind::tool_call) return std::nullopt;
  const Entries once = said.last(length);
  if (std::ranges::count_if(once, is_saying) < 2) return std::nullopt;  // see same_saying
  if (std::ranges::any_of(once, [&](const auto& entry) { return is_poll(entry, options); })) {
    return std::nullopt;
  }
  std::size_t alike = 0;
  while (alike + length < said.size() &&
         same_message(said[said.size() - 1 - alike], said[said.size() - 1 - alike - length])) {
    ++alike;
  }
  const auto repeats = static_cast<int>(alike / length);
  if (repeats < needed) return std::nullopt;
  return Repetition{.pattern = fmt::format("cycle of {}", length),
                    .agent = said.back().speaker,
                    .repeats = repeats,
                    .evidence = evidence_of(*std::ranges::find_if(once, is_saying))};
}

std::vector<std::string> words_in(const Message& message, std::ptrdiff_t most = PTRDIFF_MAX) {
  const Content& content = message.content;
  return content.is_text() ? words_of(content.as_text(), most) : words_of(content.text(), most);
}

// Two agents that cannot let go of each other. The newest messages of the talk, taken from its end
// while each is short, calls nothing, comes from another speaker than the next one and is
// courteous; of these the last ones that bring no word that is neither courtesy nor known already.
std::optional<Repetition> farewells(Entries said, const RepetitionOptions& options, int needed) {
  const CourteousWords courtesy(options.courtesy_words);
  std::size_t first = said.size();
  for (std::size_t i = said.size(); i-- > 0;) {
    const TranscriptEntry& entry = said[i];
    if (entry.kind != MessageKind::reply || message_of(entry).has_calls()) break;
    if (i + 1 < said.size() && said[i + 1].speaker == entry.speaker) break;
    const auto words = words_in(message_of(entry), options.max_farewell_words + 1);
    if (std::ssize(words) > options.max_farewell_words || !courtesy.says_any_of(words)) break;
    first = i;
  }
  if (std::ssize(said) - static_cast<std::ptrdiff_t>(first) <= needed) return std::nullopt;

  std::set<std::string> known;
  int in_a_row = 0;
  for (std::size_t i = 0; i < said.size(); ++i) {
    const auto words = words_in(message_of(said[i]));
    const bool nothing_new = std::ranges::all_of(words, [&](const std::string& word) {
      return courtesy.is_filler(word) || known.contains(word);
    });
    in_a_row = i >= first && nothing_new ? in_a_row + 1 : 0;
    known.insert(words.begin(), words.end());
  }
  if (in_a_row <= needed) return std::nullopt;
  return Repetition{.pattern = "farewells",
                    .agent = said.back().speaker,
                    .repeats = in_a_row - 1,
                    .evidence = evidence_of(said.back())};
}

// The messages that count: the newest ones, since a person last spoke.
Entries window(Entries said, std::size_t size) {
  said = said.last(std::min(size, said.size()));
  const auto human = std::find_if(said.rbegin(), said.rend(), [](const TranscriptEntry& entry) {
    return entry.kind == MessageKind::human;
  });
  return said.last(static_cast<std::size_t>(human - said.rbegin()));
}

}  // namespace

std::optional<Repetition> find_repetition(std::span<const TranscriptEntry> said,
                                          const RepetitionOptions& options) {
  const int report = std::max(options.report_after, 0);
  const int stop = std::max(options.stop_after, 0);
  const int needed = report == 0 || stop == 0 ? std::max(report, stop) : std::min(report, stop);
  if (needed == 0) return std::nullopt;
  const auto max_cycle = static_cast<std::size_t>(std::clamp(options.max_cycle, 2, 1000));
  said = window(said, max_cycle * (1 + static_cast<std::size_t>(std::max(report, stop))));
  if (said.empty()) return std::nullopt;

  std::optional<Repetition> found;
  const auto consider = [&](std::optional<Repetition> other) {
    if (other && (!found || other->repeats >= found->repeats)) found = std::move(other);
  };
  consider(same_saying(said, options, needed));
  for (std::size_t length = max_cycle; length >= 2; --length) {
    consider(cycle(said, length, options, needed));
  }
  consider(farewells(said, options, needed));
  return found;
}

std::optional<LoopSuspected> suspicion(const Repetition& found, const RepetitionOptions& options) {
  if (options.report_after <= 0 || found.repeats < options.report_after) return std::nullopt;
  return LoopSuspected{.agent = found.agent,
                       .pattern = found.pattern,
                       .repeats = found.repeats,
                       .evidence = found.evidence};
}

std::optional<Stop> repetition_stop(const Repetition& found, const RepetitionOptions& options) {
  if (options.stop_after <= 0 || found.repeats < options.stop_after) return std::nullopt;
  return Stop{.reason = StopReason::repetition,
              .agent = found.agent,
              .rule = fmt::format("repetition({})", options.stop_after),
              .detail = fmt::format("{}, {} repeats of {} allowed: {}", found.pattern,
                                    found.repeats, options.stop_after, found.evidence)};
}

}  // namespace moderato
