// Many chats at once, a few at a time: the same function as for one.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint({.first_token = std::chrono::milliseconds(100)});
  const auto ledger = std::make_shared<MemoryLedger>();
  const Progress progress(stderr, {.chats = 8});
  Runtime runtime({.observer = progress.observer(), .ledger = ledger});
  const AssistantAgent judge(
      {.name = "judge",
       .system_message = "One word for the customer's mood: glad, neutral, angry.",
       .model = runtime.model(openai(endpoint.model("judge")))});
  const UserProxyAgent desk({.name = "desk", .human_input_mode = HumanInputMode::never});

  const std::vector<std::string> letters{
      "I love the new flask!",       "The lid broke on day two.", "Do you ship to Norway?",
      "My parcel is a week late.",   "We love it, all of us.",    "Which sizes are there?",
      "It broke again. Money back.", "Is the steel recycled?",
  };
  const Instant start = runtime.clock().now();
  // [parallel]
  const auto moods =
      runtime.parallel(letters, {.max_in_flight = 4}, [&](const std::string& letter) {
        return desk.initiate_chat(judge, letter, {.max_turns = 1}).summary;
      });
  // [/parallel]
  const Duration took = runtime.clock().now() - start;

  for (std::size_t i = 0; i < letters.size(); ++i) {
    fmt::print("{:<8} {}\n", moods[i], letters[i]);
  }
  Duration one_by_one{};
  for (const CallRecord& call : ledger->records()) one_by_one += call.latency;
  fmt::print("\n{} chats, 4 at a time, took {}; the calls alone, one after the other, {}\n",
             letters.size(), example::seconds(took), example::seconds(one_by_one));
}
