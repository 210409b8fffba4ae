#pragma once

// Private header of the library: not installed.

#include <optional>
#include <string>

#include <moderato/agents/conversation.hpp>
#include <moderato/agents/group/group_state.hpp>

namespace moderato {

/// Who speaks next. Neither a speaker nor a stop: nobody may, and the run of the group ends.
struct Chosen {
  std::optional<ConversableAgent> speaker{};
  std::string method{};  ///< As SpeakerChoice has it.
  Agents candidates{};   ///< Who could have been chosen.
  Stop stop{};           ///< The choice failed.
};

/// One choice in a group chat.
struct SelectionScene {
  Conversation& chat;
  const ConversableAgent& manager;
  const GroupDefinition& group;
  GroupState& state;
  const ConversableAgent& last_speaker;
};

[[nodiscard]] Chosen select_speaker(const SelectionScene& scene);

/// auto_selection.cpp: the model's choice among several candidates.
[[nodiscard]] Chosen select_by_model(const SelectionScene& scene, const Agents& candidates);
/// handoff_selection.cpp
[[nodiscard]] Chosen select_by_handoff(const SelectionScene& scene, const ByHandoff& options);

/// The stop of a choice that went wrong.
[[nodiscard]] Chosen failed_choice(Stop stop);

}  // namespace moderato
