// Replies as they are written: with `stream` the observer hears every piece.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint(
      {.first_token = std::chrono::milliseconds(200), .per_token = std::chrono::milliseconds(25)});
  Runtime runtime;
  const AssistantAgent guide({.name = "guide",
                              .system_message = "You are a city guide. Two sentences a message.",
                              .model = runtime.model(openai(endpoint.model("guide")))});
  const UserProxyAgent guest({.name = "guest",
                              .human_input_mode = HumanInputMode::never,
                              .default_auto_reply = "And then?"});

  std::size_t pieces = 0;
  const ChatResult chat = guest.initiate_chat(
      guide, "What shall I see in Oslo?",
      {.max_turns = 2,
       .observer =
           [&](const Event& event) {
             if (const auto* delta = std::get_if<TokenDelta>(&event.data)) {
               fmt::print("{}", delta->text);
               std::fflush(stdout);
               ++pieces;
             } else if (const auto* call = std::get_if<CallFinished>(&event.data)) {
               fmt::print("\n  first piece after {}, all after {}\n\n",
                          example::seconds(*call->record.time_to_first_token),
                          example::seconds(call->record.latency));
             }
           },
       .stream = true});
  fmt::print("{} pieces in {} replies; stopped: {}\n", pieces, chat.calls, chat.stop);
}
