// A graph of agents: two branches at the same time, a join, and a way back if it is too dear.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint;
  Runtime runtime;
  const auto agent = [&](const std::string& name, const std::string& task) {
    return AssistantAgent({.name = name,
                           .system_message = task,
                           .model = runtime.model(openai(endpoint.model(name)))});
  };
  const GraphAgent travel(
      {.name = "travel",
       .agents = {agent("planner", "You choose where to go."), agent("trains", "You find trains."),
                  agent("rooms", "You find rooms."),
                  agent("purse", "You say AFFORDABLE or TOO DEAR, and why."),
                  agent("agent", "You book.")},
       .edges = {{"planner", "trains"},
                 {"planner", "rooms"},
                 {"trains", "purse"},
                 {"rooms", "purse"},
                 {"purse", "rooms", contains("TOO DEAR")},
                 {"purse", "agent", contains("AFFORDABLE")}},
       .joins = {{"rooms", Join::any}, {"purse", Join::any}},
       .max_visits = 3});

  const UserProxyAgent user({.name = "user", .human_input_mode = HumanInputMode::never});
  const ChatResult chat =
      user.initiate_chat(travel, "A weekend for at most 5,000, please.", {.token_budget = 20'000});
  for (const TranscriptEntry& entry : chat.transcript) {
    fmt::print("{:>8}: {}\n", entry.speaker, (*entry.message)->text());
  }
  fmt::print("\n{}; {} calls, {} tokens\n", chat.stop, chat.calls, chat.usage.total());
  return chat.stop.error ? 1 : 0;
}
