#include "quirks.hpp"

#include <algorithm>
#include <array>

namespace moderato::conformance {
namespace {

using enum Treatment;

constexpr std::array table{
    // Two agents.
    Quirk{"one-sided-turns", fixed, "no reply ends a chat, with max_turns as without"},
    Quirk{"empty-message-at-cap-0", fixed,
          "enter gives the automatic reply that the prompt promises"},
    Quirk{"cap-skip-asks-every-time", same, "beyond the cap a person decides about every message"},
    Quirk{"summary-strips-inside-words", fixed, "only the whole word TERMINATE is removed",
          "/chats/*/summary"},
    Quirk{"summary-not-text", fixed, "a reflection that calls a tool is an error, not a summary"},
    Quirk{"shared-default-summary-args", fixed, "settings of a summary belong to one chat"},
    Quirk{"hook-changes-stored-message", fixed, "the hook works on a copy, for one reply"},
    Quirk{"context-removed-from-stored-message", fixed,
          "a stored message keeps its `context`, and is filled from it in every later request",
          "/model_calls/*/messages/*/content"},
    Quirk{"open-call-in-request", fixed,
          "a call that was never answered gets an answer: providers refuse the request without"},
    Quirk{"python-crash", fixed, "a clean error or a sensible result"},
    Quirk{"untyped-request", fixed, "null is as absent, [] as none, 0 as 0.0: settings have types"},
    // Sequences and nested chats.
    Quirk{"results-share-one-history", fixed, "a result owns its history",
          "/results/*/history_lengths_after_all"},
    Quirk{"queue-carryover-accumulates", fixed, "the caller's queue is not written to"},
    Quirk{"nested-without-message-skipped", fixed,
          "an entry without a message opens with the outer message and the carryover"},
    // Group chats.
    Quirk{"empty-transition-list-means-everyone", fixed, "nobody may follow: the group chat ends"},
    Quirk{
        "group-cost-incomplete", ignored_fields,
        "usage is not compared: ours is that of one chat, and counts every call, whoever made it"},
    Quirk{"outsider-sees-only-its-message", fixed, "summary and history come from the group",
          "/chats/*/chat_history /chats/*/summary"},
    Quirk{"manager-as-participant-ends", fixed,
          "a group in a group says the last message of its own talk"},
    Quirk{"manager-human-mode-ignored", fixed, "a manager has no human and no cap to set"},
    Quirk{"manual-skip-ignores-eligible", fixed, "the next is taken among the eligible"},
    Quirk{"groupchat-settings-copied", fixed, "settings are immutable"},
    Quirk{"resume-own-messages-as-user", fixed, "an agent sees its own words as its own",
          "/chats/*/chat_history/*/role /histories/*/*/*/role /model_calls/*/messages/*/role"},
    Quirk{"selection-not-cached", fixed, "every call passes the one door, and its cache"},
    Quirk{"async-termination-not-broadcast", fixed, "there is one form, which tells everybody"},
    Quirk{"escaped-underscore-double-mention", fixed, "the longest name counts"},
    // Code execution.
    Quirk{"executor-scan-zero-means-all", fixed, "0 messages are no messages"},
    Quirk{"comment-taken-for-filename", fixed, "a file name is announced by `filename:`"},
    // Context transforms.
    Quirk{"token-limiter-total-only", fixed, "the oldest messages are dropped until the rest fits",
          "/model_calls/*/messages"},
    Quirk{"token-limiter-skips-tool-responses", fixed, "what the model sees is what is cut",
          "/model_calls/*/messages"},
    Quirk{"limiter-pops-newest", fixed, "an answer without its call is dropped, the newest stays",
          "/model_calls/*/messages"},
};

}  // namespace

std::span<const Quirk> quirks() {
  return table;
}

const Quirk* find_quirk(std::string_view tag) {
  const auto* found = std::find_if(table.begin(), table.end(),
                                   [&](const Quirk& quirk) { return quirk.tag == tag; });
  return found != table.end() ? found : nullptr;
}

}  // namespace moderato::conformance
