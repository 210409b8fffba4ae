// For tests: a conversation is recorded once against the endpoint and replayed ever after, without
// network, key or cost. A real test keeps the file beside it.

#include <unistd.h>

#include <filesystem>

#include "support.hpp"

using namespace moderato;

// [recording]
/// The conversation under test; `file` decides whether it is recorded or replayed.
ChatResult pack(const std::string& file, const OpenAIOptions& model, int& tool_runs) {
  Runtime runtime;
  const bool again = std::getenv("RECORD_AGAIN") != nullptr;
  Session session(runtime, recorded_session(file, {.again = again}).value());
  const Tool get_weather = tool(
      "get_weather", "Current weather in a city",
      [&](const std::string& city) { return city + ": " + std::to_string(++tool_runs) + " °C"; },
      arg("city", "City name"));
  const AssistantAgent forecaster(
      {.name = "forecaster", .model = runtime.model(openai(model)), .tools = {get_weather}});
  const UserProxyAgent traveller({.name = "traveller",
                                  .human_input_mode = HumanInputMode::never,
                                  .is_termination_msg = contains("TERMINATE")});
  return traveller.initiate_chat(forecaster, "What shall I pack for Oslo and Rome?",
                                 {.session = &session});
}
// [/recording]

int main() {
  const std::string file =
      (std::filesystem::temp_directory_path() / fmt::format("moderato-{}.jsonl", ::getpid()))
          .string();
  const example::Endpoint endpoint;
  int tool_runs = 0;
  const ChatResult first = pack(file, endpoint.model("forecaster"), tool_runs);
  fmt::print("recorded: {}\n  the tool ran {} times\n", first.summary, tool_runs);

  OpenAIOptions nowhere = endpoint.model("forecaster");
  nowhere.base_url = "http://127.0.0.1:1/v1";
  const ChatResult second = pack(file, nowhere, tool_runs);
  fmt::print("replayed: {}\n  the tool ran {} times\n", second.summary, tool_runs);
  std::filesystem::remove(file);
  return second.summary == first.summary && second.stop == first.stop ? 0 : 1;
}
