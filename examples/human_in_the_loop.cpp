// A person takes part: asked before every answer, on the terminal. Enter alone lets the agent
// answer by itself; `exit` ends the chat. Without a terminal a script stands in.

#include <unistd.h>

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint;
  Runtime runtime;
  const AssistantAgent poet({.name = "poet",
                             .system_message = "You write haiku. Answer with the poem only.",
                             .model = runtime.model(openai(endpoint.model("poet")))});
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  const UserProxyAgent reader(
      {.name = "reader",
       .human_input_mode = HumanInputMode::always,
       .human_input =
           terminal ? console_input() : scripted_input({"Can you make it shorter?", "exit"})});

  const ChatResult chat =
      reader.initiate_chat(poet, "A haiku about rain, please.", {.observer = console_printer()});
  fmt::print("\nThe poem is now: {}\n", chat.summary);
  return chat.stop.error ? 1 : 0;
}
