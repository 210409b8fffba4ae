#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <moderato/agents/agent_definition.hpp>
#include <moderato/agents/group/group_chat.hpp>

namespace moderato {

using Agents = std::vector<ConversableAgent>;

/// What stands behind a GroupChatManager; never changes.
struct GroupDefinition {
  explicit GroupDefinition(GroupChat group);

  GroupChat chat;
  HumanInput human_input{};  ///< Of the manager.
  Sampling sampling{};       ///< Of the manager.
  /// Successors by name, in the order of the participants; a name without an entry has none.
  SpeakerTransitions successors{};
  std::string introductions{};
  std::int64_t starved_after = 0;

  /// Null: no such participant.
  [[nodiscard]] const ConversableAgent* participant(std::string_view name) const noexcept;
  [[nodiscard]] bool has(const ConversableAgent& agent) const noexcept;
  /// The next after `last` in the order of the participants that is among `candidates`.
  [[nodiscard]] const ConversableAgent& next_after(const ConversableAgent& last,
                                                   const Agents& candidates) const;
};

/// What changes about a group in a session.
struct GroupState {
  MessageList messages{};
  bool resumed = false;                           ///< No introductions any more.
  std::map<std::string, std::int64_t> waiting{};  ///< Rounds since each could have spoken.
  bool choice_refused = false;                    ///< The selecting model takes no schema.
  std::string active{};  ///< With handoffs: who works now (not the user in between).
};

/// All groups of a session: session.part<Groups>().
class Groups {
 public:
  GroupState& operator[](const ConversableAgent& manager) {
    return groups_[&AgentDefinition::of(manager)];
  }
  /// All that have a state, by their managers' names.
  [[nodiscard]] std::map<std::string, const GroupState*> by_name() const;

 private:
  std::unordered_map<const AgentDefinition*, GroupState> groups_;
};

/// A message as the group keeps it: named after the speaker (a legacy function's answer keeps its
/// name), its content a text.
[[nodiscard]] Message as_group_message(Message message, const std::string& speaker);

/// Successors of everybody: all others, and oneself where that is allowed, each list ending with
/// oneself.
[[nodiscard]] SpeakerTransitions default_transitions(const std::vector<std::string>& names,
                                                     const AllowRepeatSpeaker& allow_repeat);
[[nodiscard]] SpeakerTransitions allowed_from_disallowed(const std::vector<std::string>& names,
                                                         const SpeakerTransitions& disallowed);

/// ['a', 'b'], quoted as Python quotes.
[[nodiscard]] std::string name_list(const Agents& agents);
/// "name: description" lines.
[[nodiscard]] std::string role_list(const Agents& agents);
/// A template with {roles} and {agentlist} filled in.
[[nodiscard]] std::string fill_selection_template(const std::string& text, const Agents& agents);

/// How often each of `names` is mentioned in `text`; see mentions.cpp for the rule.
[[nodiscard]] std::map<std::string, int> mentioned_agents(const std::vector<std::string>& names,
                                                          std::string_view text);

}  // namespace moderato
