#pragma once

#include <map>
#include <memory>
#include <stop_token>
#include <string>

#include <moderato/agents/conversable_agent.hpp>
#include <moderato/core/runtime.hpp>

#include "recorder.hpp"

namespace moderato::conformance {

/// A message of a vector: a text or an object. One without content and calls stays so, to be
/// refused by the conversation.
[[nodiscard]] Message message_from(const Value& value);

/// The agents of a scenario by name, with AutoGen's defaults where ours differ. `interrupt` is
/// triggered by a tool that interrupts.
[[nodiscard]] std::map<std::string, ConversableAgent> make_cast(
    const Value& scenario, Runtime& runtime, const std::shared_ptr<Recorder>& recorder,
    const std::stop_source& interrupt);

}  // namespace moderato::conformance
