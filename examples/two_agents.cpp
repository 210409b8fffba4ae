// Two agents, each with a model, improve a text until one of them is content.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint;
  Runtime runtime;
  const Limiter limits =
      quota({.requests_per_minute = 500, .tokens_per_minute = 200'000, .max_in_flight = 8});

  const AssistantAgent writer(
      {.name = "writer",
       .system_message = "You write product texts of one sentence.",
       .model = runtime.model(openai(endpoint.model("writer")), {.limiter = limits})});
  const AssistantAgent critic(
      {.name = "critic",
       .system_message = "Name the one weakness of the text that matters most. If there is none, "
                         "say why it is good, and APPROVED.",
       .model = runtime.model(openai(endpoint.model("critic")), {.limiter = limits})});

  const ChatResult chat =
      critic.initiate_chat(writer, "Sell a vacuum flask in one sentence.",
                           {.token_budget = 5'000,
                            .termination = contains("APPROVED") & said_by("critic"),
                            .observer = console_printer()});

  const MessagePtr text = chat.transcript[chat.transcript.size() - 2].message;
  fmt::print("\nThe text: {}\n", (*text)->text());
  return chat.stop.error ? 1 : 0;
}
