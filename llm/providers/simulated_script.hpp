#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/message.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/time.hpp>

namespace moderato {

/// What a script looks at to choose its answer.
struct ScriptQuestion {
  std::string_view model{};
  std::int64_t replies_so_far = 0;  ///< Assistant messages in the request.
  std::string_view last_role{};
  std::string_view last_text{};
  std::string_view tool{};  ///< Name of the first tool that is offered; empty: none.
};

/// What a script answers.
struct ScriptAnswer {
  std::string text{};
  std::vector<ToolCall> tool_calls{};
  Duration delay{};      ///< Added to the latency law.
  int error_status = 0;  ///< Not 0: an HTTP error instead of an answer.
  std::string error_code{};
  std::string error_message{};
};

/// Answers of the simulated provider. The model's name chooses one of the built-in scripts:
///   echo         says the last message again
///   pingpong-N   "Reply n.", and from the N-th reply of a conversation on "Reply n. TERMINATE"
///   tokens-N     N words
///   review       a short conversation: draft, revision, final version with TERMINATE
///   weather      calls the first tool that is offered, then answers from its result
/// Any other name: review. A script file replaces them with rules of its own.
class SimulatedScript {
 public:
  SimulatedScript() = default;

  /// Reads {"rules": [{"when": {"model", "contains", "turn", "role"}, "reply" | "tool_calls" |
  /// "error", "delay_ms"}, …]}: the first rule whose conditions all hold answers; without one the
  /// built-in scripts do. `turn` counts replies from 1. Errors name the rule and the member.
  [[nodiscard]] static Result<SimulatedScript> from_json(std::string_view text,
                                                         std::string_view name = "script");

  [[nodiscard]] ScriptAnswer answer(const ScriptQuestion& question) const;

 private:
  struct Rule {
    std::optional<std::string> model;
    std::optional<std::string> contains;
    std::optional<std::string> role;
    std::optional<std::int64_t> turn;
    ScriptAnswer answer;
    [[nodiscard]] bool matches(const ScriptQuestion& question) const;
  };
  static Result<Rule> read_rule(const Json& json, const std::string& where);

  std::vector<Rule> rules_;
};

}  // namespace moderato
