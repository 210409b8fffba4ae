// Two chats, the second with what the first came to.

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
  const UserProxyAgent user({.name = "user", .human_input_mode = HumanInputMode::never});

  const ChatQueueResult result = initiate_chats(
      {{.recipient = helper("researcher", "You collect facts."),
        .message = "How do bees find flowers?",
        .options = {.max_turns = 1}},
       {.recipient = helper("storyteller", "You tell facts to children, in one sentence."),
        .message = "Tell it to a child.",
        .options = {.max_turns = 1}}},
      {.sender = user, .token_budget = 10'000, .observer = console_printer()});

  fmt::print("\n{}\n{} chats, {} calls, {} tokens.\n", result.chats.back().summary,
             result.chats.size(), result.calls, result.usage.total());
  return result.stop ? 1 : 0;
}
