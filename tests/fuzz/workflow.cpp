// Workflow files: places in them, and the check.

#include <cstdlib>
#include <moderato/agents/workflow/workflow_check.hpp>

using namespace moderato;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto document = parse_json(text, "workflow");
  if (!document) return 0;
  const JsonPositions positions(text);
  for (const WorkflowProblem& problem : check_workflow(*document, positions)) {
    if (problem.line == 0 || problem.column == 0 || problem.text.empty()) std::abort();
  }
  return 0;
}
