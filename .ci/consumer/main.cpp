#include <fmt/format.h>

#include <moderato/core/version.hpp>
#include <moderato/moderato.hpp>

using namespace moderato;

int main() {
  Runtime runtime;
  const Model model = runtime.model(scripted({"A draft.", "The final version. TERMINATE"}),
                                    {.limiter = unlimited()});
  const AssistantAgent writer({.name = "writer", .model = model});
  const UserProxyAgent user({.name = "user",
                             .human_input_mode = HumanInputMode::never,
                             .is_termination_msg = ends_with("TERMINATE"),
                             .default_auto_reply = "Please improve it."});
  const ChatResult chat = user.initiate_chat(writer, "Write a draft.");
  fmt::print("moderato {}: {}\n", version, chat.stop);
  return chat.stop.reason == StopReason::termination_message ? 0 : 1;
}
