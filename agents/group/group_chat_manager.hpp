#pragma once

#include <string>
#include <vector>

#include <moderato/agents/conversable_agent.hpp>
#include <moderato/agents/group/group_chat.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/session.hpp>

namespace moderato {

/// Settings of a GroupChatManager.
struct GroupChatManagerOptions {
  GroupChat group_chat{};  ///< Required.
  std::string name = "chat_manager";
  /// Chooses the speakers, and reflects on the chat if a summary wants it.
  Model model{};
  Sampling sampling{};
  /// Looked at on every message of the group: true ends the run.
  Condition is_termination_msg = default_termination_message();
  std::string system_message = "Group chat manager.";
  std::string description{};  ///< Empty: the system message.
  HumanInput human_input{};   ///< Who chooses, with `manual`.
};

/// Where a resumed group chat goes on: `last_speaker.initiate_chat(manager, last_message,
/// {.session = &session})`.
struct ResumedGroup {
  ConversableAgent last_speaker;
  Message last_message{};
  /// The manager's rule is true for that message: the run would end with it.
  bool is_termination = false;
};

/// Leads a group chat: hands every message to all participants, and chooses who speaks next. Start
/// it with `somebody.initiate_chat(manager, "…")`; with max_turns the initiator (a participant or
/// not) goes on after each run of the group.
///
/// A manager among the participants of another group is a group inside the group: it is shown what
/// was said since it spoke last, lets its group talk, and says the last message of that talk.
class GroupChatManager : public ConversableAgent {
 public:
  /// Throws std::invalid_argument, naming the agents: no participants, two of one name, transitions
  /// or repeats that name strangers, transitions without a type or together with
  /// allow_repeat_speaker, a negative number, an empty template.
  explicit GroupChatManager(GroupChatManagerOptions options);

  [[nodiscard]] const GroupChat& group_chat() const noexcept;
  /// What was said in the group, in this session.
  [[nodiscard]] const MessageList& messages(Session& session) const;

  /// Puts a group chat back to where it was: all participants forget what they have, and hear all
  /// messages but the last one (each their own words as their own). With
  /// `remove_termination_string` that text is cut from the last message. Introductions are not made
  /// again. Errors invalid_request: no messages; one by somebody who is no participant, neither the
  /// admin nor the manager.
  [[nodiscard]] Result<ResumedGroup> resume(
      Session& session, std::vector<Message> messages,
      const std::string& remove_termination_string = {}) const;

 private:
  GroupChatManager(const GroupChatManagerOptions& options,
                   const std::shared_ptr<const GroupDefinition>& group);
};

}  // namespace moderato
