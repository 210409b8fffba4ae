// Three experts in one conversation; a model chooses who speaks next.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint;
  Runtime runtime;
  const auto expert = [&](const std::string& name, const std::string& what) {
    return AssistantAgent({.name = name,
                           .system_message = "You are a " + what + ". Speak briefly.",
                           .description = what,
                           .model = runtime.model(openai(endpoint.model(name)))});
  };
  const UserProxyAgent listener({.name = "listener", .human_input_mode = HumanInputMode::never});

  const GroupChatManager studio(
      {.group_chat = {.agents = {expert("physicist", "physicist"), expert("cook", "cook"),
                                 expert("host", "host who sums up, and then says TERMINATE")},
                      .max_round = 8,
                      .allow_repeat_speaker = false},
       .name = "studio",
       .model = runtime.model(openai(endpoint.model("editor"))),
       .is_termination_msg = contains("TERMINATE")});

  const ChatResult chat =
      listener.initiate_chat(studio, "Does salt make water boil faster?",
                             {.token_budget = 20'000, .observer = console_printer()});
  fmt::print("\nEverybody together, the choice of speakers included: {} calls, {} tokens.\n",
             chat.calls, chat.usage.total());
  return chat.stop.error ? 1 : 0;
}
