// Eight chats at once with a provider that takes two calls at a time: the limiter queues the calls,
// so that the provider, which counts for itself, has nothing to refuse. With unlimited() it refuses
// most of them.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint({.first_token = std::chrono::milliseconds(200)},
                                   {.max_in_flight = 2});
  const auto ledger = std::make_shared<MemoryLedger>();
  Runtime runtime({.ledger = ledger});
  const Model model = runtime.model(
      openai(endpoint.model("judge")),
      {.limiter = quota({.requests_per_minute = 3'000, .max_in_flight = 2, .name = "mail"})});
  const AssistantAgent judge(
      {.name = "judge",
       .system_message = "One word for the customer's mood: glad, neutral, angry.",
       .model = model});
  const UserProxyAgent desk({.name = "desk", .human_input_mode = HumanInputMode::never});

  const std::vector<std::string> letters(8, "Which sizes are there?");
  const auto chats =
      runtime.parallel(letters, {.max_in_flight = 8}, [&](const std::string& letter) {
        return desk.initiate_chat(judge, letter, {.max_turns = 1});
      });
  for (const ChatResult& chat : chats) {
    fmt::print("{} after waiting {}\n", chat.summary, example::seconds(chat.queue_wait));
  }

  std::size_t refused = 0;
  for (const CallRecord& call : ledger->records()) refused += call.http_status == 429 ? 1U : 0U;
  fmt::print("\n{}\n{} requests, {} refused with 429\n", model.limiter().describe(), ledger->size(),
             refused);
  return refused == 0 ? 0 : 1;
}
