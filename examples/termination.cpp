// When a conversation ends is a value: conditions combine with |, & and !, describe themselves, and
// the Stop says which one it was, by whom, and with which numbers.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint;
  Runtime runtime;
  const AssistantAgent rocket({.name = "rocket",
                               .system_message = "Count down from three, one word a message. Then "
                                                 "say: Lift-off! DONE",
                               .model = runtime.model(openai(endpoint.model("rocket")))});
  const UserProxyAgent control({.name = "control",
                                .human_input_mode = HumanInputMode::never,
                                .max_consecutive_auto_reply = 6,
                                .default_auto_reply = "Go on."});

  const std::vector<Condition> rules{
      contains("DONE"),
      max_messages(4),
      regex("(?i)^two") & said_by("rocket"),
      (!contains("Three")) & said_by("rocket"),
      predicate("a long message", [](const Message& m) { return m.text().size() > 10; }),
      elapsed(std::chrono::minutes(1)) | max_calls(3),
      never(),
  };
  for (const Condition& rule : rules) {
    const ChatResult chat = control.initiate_chat(rocket, "Count down.", {.termination = rule});
    fmt::print("{}\n  said: ", rule.describe());
    for (const TranscriptEntry& entry : chat.transcript) {
      if (entry.speaker == "rocket") fmt::print("{} ", (*entry.message)->text());
    }
    fmt::print("\n  stop: {}\n\n", chat.stop);
  }
}
