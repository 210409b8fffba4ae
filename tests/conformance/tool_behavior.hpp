#pragma once

#include <memory>
#include <stop_token>

#include <moderato/agents/tool.hpp>

#include "recorder.hpp"

namespace moderato::conformance {

/// A tool of a vector: what it is called and how it behaves, run on recorded arguments.
/// `interrupt` is triggered by the behaviour of that name.
[[nodiscard]] Tool behaving_tool(std::shared_ptr<Recorder> recorder, std::stop_source interrupt,
                                 const Value& tool);
/// The same tool as its caller's model sees it: nothing to run.
[[nodiscard]] Tool declared_tool(const Value& tool);

}  // namespace moderato::conformance
