// A help desk: the agent at work hands the customer over to the one who can help.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint;
  Runtime runtime;
  const auto clerk = [&](const std::string& name, const std::string& task,
                         std::vector<Tool> tools) {
    return AssistantAgent({.name = name,
                           .system_message = task,
                           .description = task,
                           .model = runtime.model(openai(endpoint.model(name))),
                           .tools = std::move(tools)});
  };
  const Tool refund = tool(
      "refund", "Pays an order back", [](const std::string& order) { return "refunded " + order; },
      arg("order"));
  const AssistantAgent billing = clerk("billing", "You settle questions about bills.", {refund});
  const AssistantAgent technician = clerk("technician", "You repair things.", {});
  const AssistantAgent triage =
      clerk("triage", "You find out who can help.", {handoff_to(billing), handoff_to(technician)});
  const UserProxyAgent customer({.name = "customer", .human_input_mode = HumanInputMode::never});

  const GroupChatManager desk({.group_chat = {.agents = {triage, billing, technician},
                                              .max_round = 12,
                                              .speaker_selection_method = ByHandoff{}},
                               .name = "desk"});
  const ChatResult chat =
      customer.initiate_chat(desk, "I was charged twice for order A-17.",
                             {.token_budget = 20'000, .observer = console_printer()});
  return chat.stop.error ? 1 : 0;
}
