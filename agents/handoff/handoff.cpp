#include <moderato/agents/handoff/handoff.hpp>

#include <fmt/core.h>

#include <moderato/agents/prompt.hpp>

namespace moderato {

Tool handoff_to(const std::string& agent, const std::string& description) {
  return tool(
      "transfer_to_" + normalized_name(agent).substr(0, 52),
      fmt::format("Hands the conversation over to {}.{}{}", agent, description.empty() ? "" : " ",
                  description),
      [agent](std::string message) {
        return Handoff{.handoff_to = agent, .message = std::move(message)};
      },
      arg("message", "What they should know to go on").by_default(""),
      ToolOptions{.runs_inline = true, .idempotent = true});
}

Tool handoff_to(const ConversableAgent& agent) {
  return handoff_to(agent.name(), agent.description());
}

std::optional<Handoff> handoff_in(const std::string& tool_result) {
  if (tool_result.find("\"handoff_to\"") == std::string::npos) return std::nullopt;
  auto parsed = parse_json(tool_result);
  if (!parsed || !parsed->is_object()) return std::nullopt;
  if (parsed->size() > (parsed->contains("message") ? 2U : 1U)) return std::nullopt;
  const auto text = [&](const char* member) {
    const auto found = parsed->find(member);
    return found != parsed->end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  Handoff handoff{.handoff_to = text("handoff_to"), .message = text("message")};
  if (handoff.handoff_to.empty()) return std::nullopt;
  return handoff;
}

}  // namespace moderato
