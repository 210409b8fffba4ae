// Eight chats at once against a quota of two requests a second: the limiter queues the calls, so
// that the provider, which counts for itself, has nothing to refuse.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint(
      {}, {.requests_per_minute = 120, .evaluator = QuotaEvaluator::one_second_window});
  const auto ledger = std::make_shared<MemoryLedger>();
  Runtime runtime({.ledger = ledger});
  const Model model = runtime.model(openai(endpoint.model("judge")),
                                    {.limiter = quota({.requests_per_minute = 120})});
  const AssistantAgent judge(
      {.name = "judge",
       .system_message = "One word for the customer's mood: glad, neutral, angry.",
       .model = model});
  const UserProxyAgent desk({.name = "desk", .human_input_mode = HumanInputMode::never});

  const std::vector<int> numbers{1, 2, 3, 4, 5, 6, 7, 8};
  runtime.parallel(numbers, {.max_in_flight = 8}, [&](int number) {
    const ChatResult chat = desk.initiate_chat(judge, "Which sizes are there?", {.max_turns = 1});
    fmt::print("chat {}: \"{}\" after waiting {}\n", number, chat.summary,
               example::seconds(chat.queue_wait));
  });

  std::size_t refused = 0;
  for (const CallRecord& call : ledger->records()) refused += call.http_status == 429 ? 1U : 0U;
  fmt::print("\n{}\n{} requests, {} refused with 429\n", model.limiter().describe(), ledger->size(),
             refused);
  return refused == 0 ? 0 : 1;
}
