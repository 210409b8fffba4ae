#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

/// An HTTP error instead of an answer.
struct ScriptError {
  int status = 500;
  std::string type{};
  std::string code{};
  std::string message{};
  std::vector<std::pair<std::string, std::string>> headers{};
};

/// What a script answers.
struct ScriptAnswer {
  std::string text{};
  std::vector<ToolCall> tool_calls{};
  Duration delay{};  ///< Added to the latency law.
  std::optional<ScriptError> error{};
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

  /// Reads {"rules": [RULE, …]}: the first rule whose conditions all hold answers; where none
  /// does, the built-in scripts do.
  ///   {"when": {"contains": "weather", "turn": 1, "model": "gpt-4o", "role": "user"},
  ///    "tool_calls": [{"name": "get_weather", "arguments": {"city": "Oslo"}}], "delay_ms": 300}
  ///   {"reply": "Here is the contract."}
  ///   {"error": {"status": 429, "type": "requests", "code": "rate_limit_exceeded",
  ///              "message": "Slower.", "headers": {"retry-after": "20"}}}
  /// Every condition may be left out; `contains` and `role` look at the last message, `turn` is the
  /// number of the reply from 1. A configuration error names the rule and the member.
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
