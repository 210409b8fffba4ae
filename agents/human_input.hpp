#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/result.hpp>

namespace moderato {

/// When an agent asks its human before it answers.
enum class HumanInputMode : std::uint8_t {
  always,     ///< Before every answer. Enter alone: the automatic reply; `exit`: the chat ends.
  terminate,  ///< Only on a termination message, or when the cap of automatic replies is reached.
  never,
};

[[nodiscard]] std::string_view to_string(HumanInputMode mode) noexcept;

/// Why a person is asked.
enum class HumanSituation : std::uint8_t {
  opening,         ///< What to open the chat with; every answer is sent as it is.
  before_answer,   ///< Enter: the automatic reply; `exit`: the chat ends.
  on_termination,  ///< A termination message: enter or `exit` end the chat.
  tool_approval,   ///< A tool may run only if they say so: `yes`, or why not.
  at_cap,          ///< The cap of automatic replies is reached: as before_answer.
  choose_speaker,  ///< The number of the next speaker of a group chat; enter: the next in order.
};

/// What a person is asked.
struct HumanPrompt {
  HumanSituation situation = HumanSituation::before_answer;
  std::string agent;  ///< For whom the person answers.
  std::string peer;   ///< Whose message is to be answered; empty for an opening message.
  std::string text;   ///< The words to show, prompt_text() of the above.
  std::stop_token stop{};
};

/// Our words for a situation.
[[nodiscard]] std::string prompt_text(HumanSituation situation, std::string_view agent,
                                      std::string_view peer);

/// Where the words of a person come from. A cheap value, made from any callable that takes a
/// `const HumanPrompt&` and returns a `Result<std::string>`, a `std::string` or a `const char*`. It
/// runs on the worker pool, so it may block; what it throws ends the chat with `human_error`.
///
/// Errors it may return: `awaiting_human` (they will answer later: see pending_input),
/// `human_unavailable` (nobody is there: the chat ends with `human_error`),
/// `cancelled` (the person interrupted: the chat ends with `cancelled`).
class HumanInput {
 public:
  /// The console: see console_input().
  HumanInput();
  template <class F>
  requires(std::is_invocable_r_v<Result<std::string>, F&, const HumanPrompt&> &&
           !std::is_same_v<std::remove_cvref_t<F>, HumanInput>) HumanInput(F ask)
      : ask_(std::move(ask)) {}  // NOLINT: a lambda is the natural human

  [[nodiscard]] Result<std::string> operator()(const HumanPrompt& prompt) const {
    return ask_(prompt);
  }

 private:
  std::function<Result<std::string>(const HumanPrompt&)> ask_;
};

/// Shows the prompt on standard output and reads one line from standard input. End of input is
/// `human_unavailable`; a triggered stop token ends the wait at once with `cancelled`.
[[nodiscard]] HumanInput console_input();

/// Gives these answers one after the other, then `human_unavailable`. All copies share one
/// position, so it is meant for one conversation. Thread safe.
[[nodiscard]] HumanInput scripted_input(std::vector<std::string> answers);

/// For services, where nobody sits at a console: gives these answers one after the other, then ends
/// the chat with StopReason::awaiting_human, whose detail is what the person is asked. When the
/// answer has come, in this process or in another,
///
/// - a session that was saved (save_session) goes on with `initiate_chat(peer,
/// ChatMessage::go_on(),
///   {.session = &session})`, with an agent made with `.human_input = pending_input({answer})`;
/// - a run with a journal is run again in JournalMode::resume: what happened before is replayed, so
///   here, too, only the new answers are given. This works for every kind of conversation.
///
/// All copies share one position. Thread safe.
[[nodiscard]] HumanInput pending_input(std::vector<std::string> answers = {});

}  // namespace moderato
