#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <moderato/core/event.hpp>
#include <moderato/core/stop.hpp>
#include <moderato/core/transcript.hpp>

namespace moderato {

/// When talk that goes in circles is reported, and when it ends the conversation. A repeat is a
/// time *after the first*: a message said three times has two repeats.
struct RepetitionOptions {
  /// Repeats from which a LoopSuspected event is due; 0: never.
  int report_after = 2;
  /// Repeats after which the conversation ends; 0: never.
  int stop_after = 3;
  /// Longest cycle that is looked for, in messages. Each look goes over the last
  /// max_cycle × (1 + the larger of the two numbers above) messages, whatever the length of the
  /// talk.
  int max_cycle = 6;
  /// A farewell has at most this many words.
  int max_farewell_words = 20;
  /// Further words that say thanks or goodbye, in lower case, for other languages than English.
  std::vector<std::string> courtesy_words{};
  /// Tools that are meant to be called again with the same arguments (polls, clocks).
  std::vector<std::string> repeatable_tools{};
};

/// What was found, with its evidence.
struct Repetition {
  std::string pattern{};   ///< "same message", "same tool call", "cycle of 4", "farewells".
  std::string agent{};     ///< Who said the last of it.
  int repeats = 0;         ///< Times after the first; for farewells: messages after the first.
  std::string evidence{};  ///< The repeated words or the call, shortened.
};

/// Looks for repetition that ends with the last message of `said`:
///
/// - same message: an agent's own messages are the same again and again, whatever the others say;
/// - same tool call: the same again, and with the same result (also code with the same output);
/// - cycle of n: the last n messages, of all speakers, are the same as the n before them;
/// - farewells: short messages, without calls, that say thanks or goodbye and no new word.
///
/// What a person typed, default replies and calls of `repeatable_tools` are no evidence: a person
/// may say "continue" as often as they like. Results count as parts of what they answer. nullopt:
/// fewer repeats than either option asks for. Time is bound by RepetitionOptions::max_cycle, not by
/// said.size().
[[nodiscard]] std::optional<Repetition> find_repetition(std::span<const TranscriptEntry> said,
                                                        const RepetitionOptions& options = {});

/// The event that tells of it, if there are enough repeats to report.
[[nodiscard]] std::optional<LoopSuspected> suspicion(const Repetition& found,
                                                     const RepetitionOptions& options);
/// The stop that it causes, if there are enough repeats to stop.
[[nodiscard]] std::optional<Stop> repetition_stop(const Repetition& found,
                                                  const RepetitionOptions& options);

}  // namespace moderato
