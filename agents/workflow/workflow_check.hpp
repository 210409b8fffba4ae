#pragma once

// Private header of the library: not installed.

#include <string>
#include <vector>

#include <moderato/agents/workflow/json_positions.hpp>
#include <moderato/agents/workflow/workflow.hpp>

namespace moderato {

/// Everything in `document` that does not fit workflow_shape(): unknown and missing members, wrong
/// types, numbers out of range, names of agents, models and tools that are not in the file. In the
/// order of the file.
[[nodiscard]] std::vector<WorkflowProblem> check_workflow(const Json& document,
                                                          const JsonPositions& positions);

/// The nearest of `known` to a mistyped `name`; empty if none is near.
[[nodiscard]] std::string nearest(std::string_view name, const std::vector<std::string>& known);

}  // namespace moderato
