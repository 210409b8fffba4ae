#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include <moderato/agents/carryover.hpp>
#include <moderato/agents/summary.hpp>
#include <moderato/core/budget.hpp>
#include <moderato/core/observer.hpp>
#include <moderato/core/time.hpp>
#include <moderato/termination/condition.hpp>
#include <moderato/termination/repetition.hpp>

namespace moderato {

class ReplyCache;  // llm/cache/reply_cache.hpp
class Session;

/// What happens when the next model call does not fit the token budget.
enum class OnBudget : std::uint8_t {
  stop,  ///< The chat ends.
  /// The agent makes one closing call, for which tokens were set aside at the start (it is shown as
  /// much of the conversation as fits); then the chat ends. Needs `token_budget`.
  final_answer,
};

/// Settings of one chat; every field has a safe default.
struct ChatOptions {
  /// Tokens (input and output, of all calls made for this chat) that are never exceeded.
  std::optional<std::int64_t> token_budget{};
  /// Most messages of the initiator, each with one reply; 0 or less: nothing is said. The last
  /// reply is not checked by anybody.
  std::optional<std::int64_t> max_turns{};
  /// Most messages of a chat without `max_turns`, whoever says them: the bound that holds whatever
  /// reply functions do. ≥ 1.
  std::int64_t max_messages = 10'000;
  /// Asked after every message and before every model call, those of chats inside this one (nested
  /// chats, agents as tools, graphs) included. Looks at the agents' own words.
  Condition termination{};
  Observer observer{};
  std::string tenant{};  ///< Empty: the session's.
  /// On the runtime's clock.
  Instant deadline = no_deadline;
  std::stop_token stop{};
  /// The session that the chat belongs to: it goes on from the histories that are there. Null: a
  /// fresh one. Borrowed for the time of the chat.
  Session* session = nullptr;
  SummaryMethod summary_method{};
  Carryover carryover{};
  /// No message_added and no token_delta events for this chat.
  bool silent = false;
  OnBudget on_budget = OnBudget::stop;
  /// With OnBudget::final_answer: tokens of `token_budget` that are set aside for the closing call.
  /// Unset: a quarter.
  std::optional<std::int64_t> final_answer_reserve{};
  /// A budget that several chats share; `token_budget` then bounds this chat within it.
  std::shared_ptr<TokenBudget> shared_budget{};
  /// Replies that were given before are taken from here, whoever asks in this chat (participants,
  /// speaker selection, summary), in place of the models' own caches. Null: the models' own.
  std::shared_ptr<ReplyCache> cache{};
  /// With `session`: both sides forget their talk with each other first.
  bool clear_history = false;
  /// Replies are streamed: token_delta events.
  bool stream = false;
  /// When talk that goes in circles is reported, and when it ends the chat.
  RepetitionOptions repetition{};
};

/// The budget of a chat: its own within the shared one; null if there is neither. `of_session` may
/// be null.
[[nodiscard]] std::shared_ptr<TokenBudget> chat_budget(
    const ChatOptions& options, const std::shared_ptr<TokenBudget>& of_session);

}  // namespace moderato
