#pragma once

#include <moderato/agents/conversable_agent.hpp>

namespace moderato {

/// The system message of an AssistantAgent unless you say otherwise.
[[nodiscard]] const std::string& default_assistant_message();

/// Settings of an AssistantAgent; see ConversableOptions for what they mean.
struct AssistantOptions {
  std::string name{};  ///< Required.
  std::string system_message = default_assistant_message();
  std::string description{};
  Model model{};
  Sampling sampling{};
  std::vector<Tool> tools{};
  HumanInputMode human_input_mode = HumanInputMode::never;
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

/// An agent that answers with a model and never asks a human.
class AssistantAgent : public ConversableAgent {
 public:
  explicit AssistantAgent(AssistantOptions options);
};

}  // namespace moderato
