#include <moderato/agents/assistant_agent.hpp>

#include <moderato/agents/agent_definition.hpp>

namespace moderato {
namespace {

constexpr const char* default_description =
    "An assistant that answers with a language model, and asks for tools where it needs them.";

AssistantOptions with_description(AssistantOptions options) {
  if (options.description.empty() && options.system_message == default_assistant_message()) {
    options.description = default_description;
  }
  return options;
}

}  // namespace

const std::string& default_assistant_message() {
  static const std::string text =
      "You are a capable assistant. Work on the task step by step. If tools are offered and one of "
      "them "
      "helps, call it instead of guessing, and use what it returns. Say so plainly when something "
      "is "
      "unknown or cannot be done. When the task is done, or nothing more can be achieved, answer "
      "with "
      "the single word TERMINATE and nothing else.";
  return text;
}

AssistantAgent::AssistantAgent(AssistantOptions options)
    : ConversableAgent(AgentKind::assistant, as_conversable(with_description(std::move(options)))) {
}

}  // namespace moderato
