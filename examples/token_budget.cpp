// A token budget is a bound: what does not fit is not sent, and the closing call is paid from what
// was set aside for it at the start.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint;
  Runtime runtime;
  const AssistantAgent guide({.name = "guide",
                              .system_message = "You are a city guide. Two sentences a message.",
                              .model = runtime.model(openai(endpoint.model("guide")),
                                                     {.default_max_output_tokens = 100})});
  const UserProxyAgent guest({.name = "guest",
                              .human_input_mode = HumanInputMode::never,
                              .default_auto_reply = "And then?"});

  constexpr std::int64_t budget = 1'000;
  const ChatResult chat = guest.initiate_chat(
      guide, "What shall I see in Oslo?",
      {.token_budget = budget,
       .observer =
           [](const Event& event) {
             if (const auto* finished = std::get_if<CallFinished>(&event.data)) {
               const CallRecord& call = finished->record;
               fmt::print("{:<12} reserved {:>3}, used {:>3}\n", to_string(call.purpose),
                          call.estimated_input + call.reserved_output, call.usage.total());
             }
           },
       .on_budget = OnBudget::final_answer});

  fmt::print("\n{}\n\nstopped: {}\nspent {} of {} tokens in {} calls\n", chat.summary, chat.stop,
             chat.usage.total(), budget, chat.calls);
  return chat.usage.total() <= budget ? 0 : 1;
}
