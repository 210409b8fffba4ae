#pragma once

#include <moderato/agents/conversable_agent.hpp>

namespace moderato {

/// Settings of a UserProxyAgent; see ConversableOptions for what they mean.
struct UserProxyOptions {
  std::string name{};  ///< Required.
  std::string system_message{};
  /// Empty: words that fit the human input mode.
  std::string description{};
  Model model{};
  Sampling sampling{};
  std::vector<Tool> tools{};
  HumanInputMode human_input_mode = HumanInputMode::always;
  std::int64_t max_consecutive_auto_reply = 10;
  Condition is_termination_msg = default_termination_message();
  std::optional<Content> default_auto_reply = Content("");
  HumanInput human_input{};
  std::vector<Tool> runs{};
  std::vector<ReplyRegistration> replies{};
  Hooks hooks{};
  std::size_t max_parallel_tools = 1;
  std::vector<Transform> transforms{};
  CodeExecution code_execution{};
  bool allow_format_str_template = false;
};

/// An agent that stands for a person: asks them before every answer, and runs tools.
class UserProxyAgent : public ConversableAgent {
 public:
  explicit UserProxyAgent(UserProxyOptions options);
};

}  // namespace moderato
