// A tool is a C++ callable: the JSON schema comes from its parameter types, arguments are checked
// against it, and whatever goes wrong is told to the model.

#include <map>

#include "support.hpp"

using namespace moderato;

int main() {
  const example::Endpoint endpoint;
  Runtime runtime;
  const Tool get_weather = tool(
      "get_weather", "Current weather in a city",
      [](const std::string& city, bool celsius) {
        static const std::map<std::string, int> degrees{{"Oslo", -4}, {"Rome", 17}};
        const int c = degrees.at(city);  // what it throws for an unknown city, the model reads
        return fmt::format("{}: {} °{}", city, celsius ? c : c * 9 / 5 + 32, celsius ? "C" : "F");
      },
      arg("city", "City name"), arg("celsius", "Else Fahrenheit").by_default(true));
  fmt::print("{}\n\n", dump_json(get_weather.definition().parameters));

  const AssistantAgent forecaster({.name = "forecaster",
                                   .model = runtime.model(openai(endpoint.model("forecaster"))),
                                   .tools = {get_weather}});
  const UserProxyAgent traveller({.name = "traveller",
                                  .human_input_mode = HumanInputMode::never,
                                  .is_termination_msg = contains("TERMINATE")});

  const ChatResult chat = traveller.initiate_chat(
      forecaster, "I travel to Oslo, then to Rome. What shall I pack? End with TERMINATE.",
      {.observer = console_printer()});
  return chat.stop.error ? 1 : 0;
}
