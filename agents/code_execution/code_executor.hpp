#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/agents/code_execution/code_block.hpp>
#include <moderato/core/result.hpp>

namespace moderato {

/// How some code ended.
struct CodeResult {
  int exit_code = 0;
  std::string output{};
  bool operator==(const CodeResult&) const = default;
};

/// Runs code that a message holds. Implementations are thread safe: one executor may serve many
/// conversations.
class CodeExecutor {
 public:
  virtual ~CodeExecutor() = default;

  /// Runs the blocks in order, up to the first that fails. Called on a worker thread, so it may
  /// block; it ends soon after `stop` is triggered (its result is not looked at then). An error is
  /// what no model can mend by writing other code: it ends the chat. What it throws does so, too.
  virtual Result<CodeResult> execute(const std::vector<CodeBlock>& blocks,
                                     const std::stop_token& stop) = 0;

  /// The code in a message; none: the message is not for this executor.
  [[nodiscard]] virtual std::vector<CodeBlock> extract(std::string_view text) const {
    return extract_code_blocks(text);
  }
};

/// That an agent runs the code it is sent, and which.
struct CodeExecution {
  std::shared_ptr<CodeExecutor> executor{};  ///< Null: no code is run.
  /// How many of the newest messages are searched for code, newest first; the blocks of the first
  /// that has any are run. nullopt: those since the agent itself last spoke. 0: none.
  std::optional<std::size_t> last_n_messages{};
};

}  // namespace moderato
