#include "code.hpp"

#include <cstdlib>
#include <stdexcept>

#include <moderato/agents/code_execution/command_line_executor.hpp>

namespace moderato::conformance {
namespace {

class ScriptedExecutor final : public CodeExecutor {
 public:
  ScriptedExecutor(std::shared_ptr<Recorder> recorder, std::string agent, Value results)
      : recorder_(std::move(recorder)), agent_(std::move(agent)), results_(std::move(results)) {}

  Result<CodeResult> execute(const std::vector<CodeBlock>& blocks,
                             const std::stop_token&) override {
    recorder_->trace.push_back({"code", agent_, as_value(blocks)});
    const Value& result = results_.at(next_++);
    return CodeResult{result.at("exit_code").get<int>(), result.at("output").get<std::string>()};
  }

 private:
  std::shared_ptr<Recorder> recorder_;
  std::string agent_;
  Value results_;
  std::size_t next_ = 0;
};

}  // namespace

Value as_value(const std::vector<CodeBlock>& blocks) {
  Value list = Value::array();
  for (const CodeBlock& block : blocks) list.push_back({block.language, block.code});
  return list;
}

CodeExecution code_execution_from(std::shared_ptr<Recorder> recorder, const std::string& agent,
                                  const Value& code) {
  CodeExecution execution;
  if (code.contains("last_n_messages")) {
    execution.last_n_messages = code["last_n_messages"].get<std::size_t>();
  }
  const std::string kind = code.at("executor");
  if (kind == "scripted") {
    execution.executor =
        std::make_shared<ScriptedExecutor>(std::move(recorder), agent, code.at("results"));
    return execution;
  }
  CommandLineOptions options;
  options.isolation = Isolation::unsandboxed;  // the recordings' own few lines of sh and Python
  options.legacy_output = kind == "legacy";
  if (const char* path = std::getenv("PATH")) options.environment["PATH"] = path;
  execution.executor = command_line_executor(options);
  return execution;
}

}  // namespace moderato::conformance
