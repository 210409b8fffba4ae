#pragma once

#include <memory>
#include <string>

#include <moderato/agents/code_execution/code_executor.hpp>

#include "recorder.hpp"

namespace moderato::conformance {

/// The code execution that a vector describes: results from its script, or code that is really run.
[[nodiscard]] CodeExecution code_execution_from(std::shared_ptr<Recorder> recorder,
                                                const std::string& agent, const Value& code);

/// [[language, code]…].
[[nodiscard]] Value as_value(const std::vector<CodeBlock>& blocks);

}  // namespace moderato::conformance
