#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <moderato/agents/conversable_agent.hpp>
#include <moderato/agents/human_input.hpp>
#include <moderato/agents/transforms/transform.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/llm/request.hpp>

namespace moderato {

class Session;
struct GroupChat;

/// How a group chat chooses who speaks next, among those who may.
enum class SpeakerSelectionMethod : std::uint8_t {
  automatic,    ///< The manager's model is asked; without one: round_robin. AutoGen's "auto".
  manual,       ///< A person is asked for a number (GroupChatManagerOptions::human_input).
  random,       ///< Every one as likely; the same in a replay.
  round_robin,  ///< The next in the order of the participants.
};

/// "auto", "manual", "random", "round_robin".
[[nodiscard]] std::string_view to_string(SpeakerSelectionMethod method) noexcept;
/// The same, in upper or lower case; nullopt for another name.
[[nodiscard]] std::optional<SpeakerSelectionMethod> speaker_selection_method_from_string(
    std::string_view name);

/// What a selection function is given. Borrowed for the time of the call.
struct SelectionRequest {
  Session& session;
  const GroupChat& group;
  /// Who spoke last; not a participant if an outsider opened the chat.
  const ConversableAgent& last_speaker;
  const MessageList& messages;  ///< The group's.
};

/// What a selection function answers: nobody (the group chat ends), a participant (by handle or by
/// name), or a method that is to choose.
using Selection =
    std::variant<std::monostate, ConversableAgent, std::string, SpeakerSelectionMethod>;
using SelectSpeaker = std::function<Selection(const SelectionRequest&)>;

/// What follows a message that hands over to nobody and calls no tool.
enum class AfterWork : std::uint8_t {
  end,     ///< The group chat ends.
  stay,    ///< The same agent goes on.
  revert,  ///< The first participant speaks (the user, as a rule).
};

/// Who speaks next is whoever the last speaker handed over to: see handoff_to(). An agent that
/// called tools runs them itself, and goes on after their results.
struct ByHandoff {
  AfterWork after_work = AfterWork::end;
};

/// A method, a function of your own, or handoffs.
class SpeakerSelection {
 public:
  SpeakerSelection() = default;
  SpeakerSelection(SpeakerSelectionMethod method) : value_(method) {}  // NOLINT
  SpeakerSelection(ByHandoff handoff) : value_(handoff) {}             // NOLINT
  template <class F>
  requires std::is_invocable_r_v<Selection, F&, const SelectionRequest&> SpeakerSelection(
      F function)
      : value_(SelectSpeaker(std::move(function))) {}  // NOLINT

  [[nodiscard]] const SpeakerSelectionMethod* method() const noexcept {
    return std::get_if<SpeakerSelectionMethod>(&value_);
  }
  [[nodiscard]] const SelectSpeaker* function() const noexcept {
    return std::get_if<SelectSpeaker>(&value_);
  }
  [[nodiscard]] const ByHandoff* handoff() const noexcept {
    return std::get_if<ByHandoff>(&value_);
  }

 private:
  std::variant<SpeakerSelectionMethod, SelectSpeaker, ByHandoff> value_ =
      SpeakerSelectionMethod::automatic;
};

/// Whether the successors of a speaker are listed, or those who may not follow.
enum class SpeakerTransitionsType : std::uint8_t { allowed, disallowed };
using SpeakerTransitions = std::map<std::string, std::vector<std::string>>;
/// For all, for none, or for those named.
using AllowRepeatSpeaker = std::variant<bool, std::vector<std::string>>;

/// How the model is to name the next speaker.
enum class SelectionAnswer : std::uint8_t {
  /// `choice` with providers that enforce a schema (openai), `text` with others.
  automatic,
  /// One of the candidates' names, by a JSON schema: short, and never a name too many. A provider
  /// that refuses the schema is asked for text instead.
  choice,
  text,  ///< Free text that names one of the candidates, as AutoGen has it.
};

/// Who was chosen to speak next, and how.
struct SpeakerChoice {
  std::string group{};    ///< The manager's name.
  std::string speaker{};  ///< Empty: nobody may speak, the run of the group ends.
  std::string method{};   ///< "auto", "round_robin", "only candidate", "handoff", …
};

/// Settings of a group chat; names and defaults are AutoGen's. Agents are referred to by name.
struct GroupChat {
  std::vector<ConversableAgent> agents{};  ///< The participants, in their order; names are unique.
  /// Messages in one run of the group, the opening one included; 0: nothing is said.
  std::int64_t max_round = 10;
  SpeakerSelection speaker_selection_method{};
  /// Whether one may speak twice in a row. Unset: true. Not together with transitions.
  std::optional<AllowRepeatSpeaker> allow_repeat_speaker{};
  /// Who may follow whom, or may not. With `allowed`, after a speaker without an entry (or with an
  /// empty one) the group chat ends.
  std::optional<SpeakerTransitions> allowed_or_disallowed_speaker_transitions{};
  std::optional<SpeakerTransitionsType> speaker_transitions_type{};
  /// After a message that calls tools, only those who can run them may speak.
  bool func_call_filter = true;
  /// Further requests for a selection that names nobody or several; then the next in order speaks.
  std::int64_t max_retries_for_selecting_speaker = 2;
  /// Speaks when a person interrupts (human input that is `cancelled`), if it is a participant.
  std::string admin_name = "Admin";
  /// Everybody is told at the start of a run who takes part.
  bool send_introductions = false;
  /// A person or a tool that says "clear history [NAME] [KEEP]" makes the participants forget.
  bool enable_clear_history = false;
  /// Told of every choice, as it is made.
  std::function<void(const SpeakerChoice&)> on_speaker_selected{};
  /// Rounds for which a participant who may speak is passed over before a warning is due; 0: never.
  /// Unset: five times the number of participants.
  std::optional<std::int64_t> report_starved_after{};

  // Words around the model's choice. `{roles}` is one line "name: description" for each candidate,
  // `{agentlist}` their names as ['a', 'b'].
  std::string introductions_message = "Hello everyone. These agents take part:";
  /// The system message; not empty.
  std::string select_speaker_message_template =
      "You decide who speaks next in a conversation between these agents:\n{roles}\nAnswer with "
      "one "
      "name of {agentlist} and nothing else.";
  /// Follows the conversation; nullopt or empty: the last message is shown again instead.
  std::optional<std::string> select_speaker_prompt_template =
      "Who speaks next? Answer with one name of {agentlist} and nothing else.";
  std::string select_speaker_auto_multiple_template =
      "That names more than one. Answer with exactly one name of {agentlist}, spelled as here.";
  std::string select_speaker_auto_none_template =
      "That names none of them. Answer with exactly one name of {agentlist}, spelled as here.";
  Role role_for_select_speaker_messages = Role::system;
  SelectionAnswer selection_answer = SelectionAnswer::automatic;
  /// The model that selects; none: the manager's.
  Model select_speaker_model{};
  Sampling select_speaker_sampling{};
  /// Applied, in order, to what the selecting model is shown (its system message excluded).
  std::vector<Transform> select_speaker_transforms{};
  /// How `random` draws: the index of one of the candidates. Null: from the session's random
  /// numbers.
  std::function<std::size_t(const std::vector<ConversableAgent>& candidates)> draw{};
};

}  // namespace moderato
