#include <moderato/agents/user_proxy_agent.hpp>

#include <moderato/agents/agent_definition.hpp>

namespace moderato {
namespace {

std::string default_description(HumanInputMode mode) {
  switch (mode) {
    case HumanInputMode::always:
      return "A person: their words are asked for before every answer.";
    case HumanInputMode::terminate:
      return "Stands for a person, who is asked when the work seems done; runs tools on its own.";
    case HumanInputMode::never:
      return "Stands for a person without asking them, and runs tools.";
  }
  return {};
}

UserProxyOptions with_description(UserProxyOptions options) {
  if (options.description.empty()) {
    options.description = default_description(options.human_input_mode);
  }
  return options;
}

}  // namespace

UserProxyAgent::UserProxyAgent(UserProxyOptions options)
    : ConversableAgent(AgentKind::user_proxy,
                       as_conversable(with_description(std::move(options)))) {}

}  // namespace moderato
