#include <moderato/agents/workflow/workflow.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include <moderato/agents/workflow/json_positions.hpp>
#include <moderato/agents/workflow/workflow_build.hpp>
#include <moderato/agents/workflow/workflow_check.hpp>
#include <moderato/core/simulation.hpp>

// A workflow file is looked at twice. First against one table of members, types and ranges
// (workflow_shape.cpp), which is also what the published schema is made of. Then everything it
// describes is made for once, in a simulated world with models that are never asked: what agents,
// groups and graphs refuse when they are made, they refuse here, in their own words.

namespace moderato {
namespace {

/// "workflow, line 3, column 7: …" of parse_json, as a place and words.
WorkflowProblem no_json(const Error& error) {
  WorkflowProblem problem{.text = error.message};
  unsigned long line = 0;
  unsigned long column = 0;
  int read = 0;
  if (std::sscanf(error.message.c_str(), "workflow, line %lu, column %lu: %n", &line, &column,
                  &read) == 2 &&
      read > 0) {
    problem = {.line = line,
               .column = column,
               .text = "this is no JSON: " + error.message.substr(static_cast<std::size_t>(read))};
  }
  return problem;
}

std::vector<WorkflowProblem> faults_of(const Json& document, const JsonPositions& positions) {
  Simulation world;
  std::vector<WorkflowProblem> problems;
  for (WorkflowFault& fault : build_workflow(document, world, WorkflowOptions(), true).faults) {
    const TextPlace at = positions.value(fault.pointer);
    problems.push_back({at.line, at.column, std::move(fault.text)});
  }
  return problems;
}

}  // namespace

tl::expected<Workflow, std::vector<WorkflowProblem>> Workflow::parse(std::string_view text) {
  auto document = parse_json(text, "workflow");
  if (!document) return tl::unexpected(std::vector{no_json(document.error())});
  const JsonPositions positions(text);
  auto problems = check_workflow(*document, positions);
  if (problems.empty()) problems = faults_of(*document, positions);
  if (!problems.empty()) return tl::unexpected(std::move(problems));
  return Workflow(std::move(*document));
}

Workflow::Workflow(Json document)
    : document_(std::make_shared<const Json>(std::move(document))),
      name_(document_->value("name", "workflow")) {
  if (const auto tools = document_->find("tools"); tools != document_->end()) {
    tools_ = tools->get<std::vector<std::string>>();
  }
}

std::vector<std::string> Workflow::key_variables() const {
  std::vector<std::string> variables;
  const auto models = document_->find("models");
  if (models == document_->end()) return variables;
  for (const auto& [name, model] : models->items()) {
    const std::string variable = model.value("api_key_env", "");
    if (!variable.empty() &&
        std::find(variables.begin(), variables.end(), variable) == variables.end()) {
      variables.push_back(variable);
    }
  }
  return variables;
}

Result<ChatQueueResult> Workflow::run(Runtime& runtime, const WorkflowOptions& options) const try {
  BuiltWorkflow built = build_workflow(*document_, runtime, options, false);
  if (!built.faults.empty()) {
    return fail(ErrorCode::configuration,
                fmt::format("workflow \"{}\": {}", name_, built.faults.front().text));
  }
  ChatQueueOptions queue{.observer = options.observer,
                         .tenant = options.tenant,
                         .stop = options.stop,
                         .session = options.session};
  if (built.chats.size() > 1 && document_->contains("token_budget")) {
    queue.token_budget = document_->at("token_budget").get<std::int64_t>();
  }
  if (const auto seconds = document_->find("deadline_seconds"); seconds != document_->end()) {
    const std::chrono::duration<double> time(seconds->get<double>());
    queue.deadline =
        saturating_add(runtime.clock().now(), std::chrono::duration_cast<Duration>(time));
  }
  return initiate_chats(std::move(built.chats), std::move(queue));
} catch (const std::invalid_argument& error) {
  return fail(ErrorCode::configuration, fmt::format("workflow \"{}\": {}", name_, error.what()));
}

}  // namespace moderato
