#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/agents/sequence/initiate_chats.hpp>
#include <moderato/agents/tool.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/llm/described_model.hpp>

namespace moderato {

/// Something wrong in a workflow file. Line and column (in bytes) count from 1.
struct WorkflowProblem {
  std::size_t line = 1;
  std::size_t column = 1;
  std::string text{};
};

/// What a workflow needs from the program that runs it.
struct WorkflowOptions {
  /// Those that the file names in its `tools`; further ones are not looked at.
  std::vector<Tool> tools{};
  /// The key in the environment variable that a model names in `api_key_env`. Left out: there are
  /// no keys, as the library reads no environment.
  std::function<Secret(const std::string& variable)> key{};
  /// Another provider for a model of the file (a simulated one, say). Left out: openai(options).
  std::function<ModelProvider(const OpenAIOptions& options)> provider{};
  /// The first message, in place of the file's.
  std::string message{};
  HumanInput human_input{};  ///< The console unless you say otherwise.
  Observer observer{};
  std::stop_token stop{};
  std::string tenant{};
  Session* session = nullptr;  ///< Borrowed for the time of the run; null: a fresh one.
  bool stream = false;         ///< Replies are streamed: token_delta events.
};

/// Agents, models, limits, termination and a task (a chat, a group chat, a graph of agents, or a
/// sequence of chats), described in one JSON file; docs/workflows.md says how. A value; thread
/// safe.
class Workflow {
 public:
  /// Reads a file's text. On failure: everything that is wrong in it, in the order of the file,
  /// each with its place and, where there is one, a suggestion. The agents are made once for that,
  /// so that also a graph without an end is found here. Nothing is sent.
  [[nodiscard]] static tl::expected<Workflow, std::vector<WorkflowProblem>> parse(
      std::string_view text);

  /// Of the file; "workflow" if it gives none.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// The tools that have to be offered.
  [[nodiscard]] const std::vector<std::string>& tools() const noexcept { return tools_; }
  /// The environment variables that hold keys.
  [[nodiscard]] std::vector<std::string> key_variables() const;

  /// Runs the task to its end; blocks the thread or suspends the fiber. One chat in the result,
  /// or as many as the sequence has; why they ended is in their `stop`. Error configuration: a tool
  /// that is not offered, a limiter that cannot be opened.
  [[nodiscard]] Result<ChatQueueResult> run(Runtime& runtime,
                                            const WorkflowOptions& options = {}) const;

 private:
  explicit Workflow(Json document);
  std::shared_ptr<const Json> document_;
  std::string name_;
  std::vector<std::string> tools_;
};

/// The JSON Schema of workflow files (draft 2020-12), as published in docs/workflow.schema.json.
[[nodiscard]] Json workflow_schema();

}  // namespace moderato
