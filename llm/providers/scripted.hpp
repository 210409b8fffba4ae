#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include <moderato/llm/provider.hpp>

namespace moderato {

/// One answer of a script: a text, a message (with tool calls, say), a whole reply, or a failure.
using ScriptedReply = std::variant<std::string, Message, ModelReply, Error>;

/// What a list of replies does when it is used up.
enum class OnExhausted : std::uint8_t {
  error,        ///< An invalid_request error that says how many replies there were.
  cycle,        ///< Starts again.
  repeat_last,  ///< Gives the last one for ever.
};

struct ScriptedOptions {
  OnExhausted on_exhausted = OnExhausted::error;
  std::string model = "scripted";
};

/// A provider that answers at once from a list, in the order of the calls (of all agents that share
/// the model). For tests and examples. Streamed requests get the text word by word. Usage that a
/// reply does not state is counted by the TokenEstimator's rule and marked as estimated.
[[nodiscard]] ModelProvider scripted(std::vector<ScriptedReply> replies,
                                     ScriptedOptions options = {});

/// A provider that asks a function. It may wait (sleep_for, for instance); calls of different chats
/// may overlap, and on a runtime with several threads they may be made at once. One that throws is
/// an internal error.
[[nodiscard]] ModelProvider scripted(
    std::function<Result<ModelReply>(const ModelRequest&)> function, ScriptedOptions options = {});

}  // namespace moderato
