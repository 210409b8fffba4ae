// A programmer writes code, an executor runs it, and a reviewer looks at both. Code that a model
// has written runs in a sandbox; where there is none it is refused.

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint;
  Runtime runtime;
  const AssistantAgent programmer(
      {.name = "programmer",
       .system_message = "Write one fenced block of shell code. You are told what it prints.",
       .model = runtime.model(openai(endpoint.model("programmer")))});
  // The sandbox shows its work folder and the system's programs; no network, no files of yours.
  const UserProxyAgent executor({.name = "executor",
                                 .human_input_mode = HumanInputMode::never,
                                 .is_termination_msg = contains("FINISHED"),
                                 .code_execution = {.executor = command_line_executor(
                                                        {.timeout = std::chrono::seconds(10)})}});
  const AssistantAgent reviewer(
      {.name = "reviewer",
       .system_message = "Say in one sentence what of the code could go wrong.",
       .model = runtime.model(openai(endpoint.model("reviewer")))});

  const ChatResult written = executor.initiate_chat(
      programmer, "Print the sum of the numbers from 1 to 100. End with FINISHED when it is right.",
      {.observer = console_printer()});
  if (written.stop.error && written.stop.error->code == ErrorCode::configuration) {
    fmt::print("\nNo code was run: {}\n", written.stop.error->message);
    return 0;
  }
  const ChatResult review =
      executor.initiate_chat(reviewer, to_text(written.transcript), {.max_turns = 1});
  fmt::print("\nThe review: {}\n", review.summary);
  return review.stop.error ? 1 : 0;
}
