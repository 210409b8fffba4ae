#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <moderato/core/error.hpp>

namespace moderato {

/// Why a conversation ended. A closed set; the numbers and names are in Stop.
enum class StopReason : std::uint8_t {
  none,                        ///< Not ended (only in a value that nobody filled).
  termination_message,         ///< is_termination_msg was true for a received message.
  condition,                   ///< A `termination` condition fired (Stop::rule says which).
  max_consecutive_auto_reply,  ///< A party reached its cap of automatic replies.
  max_turns,                   ///< max_turns of initiate_chat.
  max_messages,                ///< A cap on messages.
  max_calls,                   ///< A cap on model calls.
  token_budget,                ///< The next call does not fit the token budget.
  deadline,                    ///< The deadline of the chat.
  repetition,                  ///< The conversation repeats itself.
  human_exit,                  ///< A person typed `exit`.
  human_skip_on_termination,   ///< A person pressed enter on a termination message.
  no_reply,                    ///< A party had nothing to say (a null reply).
  no_initial_message,          ///< The message function gave nothing.
  cancelled,                   ///< The stop token, or ctrl-C.
  model_error,                 ///< A model call failed for good (Stop::error).
  tool_error,                  ///< A tool failure that may not be shown to the model.
  awaiting_human,   ///< A person is to answer later; Stop::detail is what they are asked.
  human_error,      ///< Human input was needed and could not be had.
  callback_error,   ///< A user's function threw.
  invalid_message,  ///< A message without content and calls was to be sent.
  replay_mismatch,  ///< A replay differs from its recording.
  storage_error,    ///< The journal failed.
};

[[nodiscard]] std::string_view to_string(StopReason reason) noexcept;
[[nodiscard]] std::optional<StopReason> stop_reason_from_string(std::string_view name) noexcept;

/// The end of a conversation: which condition, who, with which numbers. Prints itself.
struct Stop {
  StopReason reason = StopReason::none;
  /// The agent that ended it: who evaluated the rule, reached the cap, or said the last word.
  std::string agent{};
  /// The rule in text, with its bound: `contains("TERMINATE")`, `max_messages(10)`.
  std::string rule{};
  /// The evidence: the numbers or words that made the rule fire ("10 of 10 messages").
  std::string detail{};
  /// Set where a failure ended the chat.
  std::optional<Error> error{};

  [[nodiscard]] explicit operator bool() const noexcept { return reason != StopReason::none; }
  bool operator==(const Stop&) const = default;
};

/// "termination_message: contains("TERMINATE") by user_proxy (message 4)".
[[nodiscard]] std::string to_string(const Stop& stop);

}  // namespace moderato

/// fmt::print("{}", stop).
template <>
struct fmt::formatter<moderato::Stop> : fmt::formatter<fmt::string_view> {
  template <class Context>
  auto format(const moderato::Stop& stop, Context& context) const {
    return fmt::formatter<fmt::string_view>::format(moderato::to_string(stop), context);
  }
};
