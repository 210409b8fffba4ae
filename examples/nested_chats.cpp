// An agent that answers by asking others first: a writer with a checker and a fixer behind it.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint;
  Runtime runtime;
  const auto helper = [&](const std::string& name, const std::string& task) {
    return AssistantAgent({.name = name,
                           .system_message = task,
                           .model = runtime.model(openai(endpoint.model(name)))});
  };
  const AssistantAgent storyteller = helper("storyteller", "You tell facts in one sentence.");
  const AssistantAgent checker = helper("checker", "You look for mistakes.");
  const AssistantAgent fixer = helper("fixer", "You mend what the context complains of.");

  const ConversableAgent writer(
      {.name = "writer",
       .human_input_mode = HumanInputMode::never,
       .replies = {nested_chats({{.recipient = storyteller, .options = {.max_turns = 1}},
                                 {.recipient = checker, .options = {.max_turns = 1}},
                                 {.recipient = fixer, .options = {.max_turns = 1}}},
                                "user")}});
  const UserProxyAgent user({.name = "user", .human_input_mode = HumanInputMode::never});

  const ChatResult chat =
      user.initiate_chat(writer, "How do bees find flowers?",
                         {.token_budget = 10'000, .max_turns = 1, .observer = console_printer()});
  fmt::print("\nThe user only sees: {}\n", chat.summary);
  return chat.stop.error ? 1 : 0;
}
