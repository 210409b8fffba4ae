#pragma once

// Private header of the library: not installed.

#include <string>
#include <vector>

#include <moderato/agents/workflow/workflow.hpp>

namespace moderato {

/// What cannot be made of a file that is well formed, and where in it that lies.
struct WorkflowFault {
  std::string pointer{};
  std::string text{};
};

struct BuiltWorkflow {
  std::vector<QueuedChat> chats{};  ///< The task.
  std::vector<WorkflowFault> faults{};
};

/// Makes models, agents and task of a document without problems. With `only_check` the models are
/// never asked, and tools need not be offered.
[[nodiscard]] BuiltWorkflow build_workflow(const Json& document, Runtime& runtime,
                                           const WorkflowOptions& options, bool only_check);

/// A condition of the document. Throws std::invalid_argument for a pattern that is none.
[[nodiscard]] Condition workflow_condition(const Json& json);

}  // namespace moderato
