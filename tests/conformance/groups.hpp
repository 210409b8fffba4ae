#pragma once

#include <map>
#include <memory>
#include <string>

#include <moderato/agents/group/group_chat_manager.hpp>

#include "recorder.hpp"

namespace moderato::conformance {

/// The group chat managers of a scenario by name, with AutoGen's words and defaults. Throws
/// std::invalid_argument as ours do.
[[nodiscard]] std::map<std::string, GroupChatManager> make_groups(
    const Value& scenario, const std::map<std::string, ConversableAgent>& agents, Runtime& runtime,
    const std::shared_ptr<Recorder>& recorder);

/// The settings of a group with AutoGen's words.
[[nodiscard]] GroupChat autogen_group();

}  // namespace moderato::conformance
