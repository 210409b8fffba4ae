// A workflow from a file, with a tool of this program: examples/workflows/tools.json.

#include <fstream>
#include <iterator>

#include "support.hpp"

using namespace moderato;

int main() {
  const std::string path = EXAMPLE_WORKFLOWS "/tools.json";
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto workflow = Workflow::parse(text);
  if (!workflow) {
    for (const WorkflowProblem& problem : workflow.error()) {
      fmt::print("{}:{}:{}: {}\n", path, problem.line, problem.column, problem.text);
    }
    return 1;
  }

  const example::Endpoint endpoint;
  const Tool get_weather = tool(
      "get_weather", "Current weather in a city",
      [](const std::string& city, bool) { return city == "Rome" ? "24 °C, sun" : "4 °C, rain"; },
      arg("city", "City name"), arg("celsius").by_default(true));
  Runtime runtime;
  const auto result = workflow->run(
      runtime,
      {.tools = {get_weather},
       .provider = [&](const OpenAIOptions&) { return openai(endpoint.model("forecaster")); },
       .observer = console_printer()});
  if (!result) {
    fmt::print("{}\n", result.error().message);
    return 1;
  }
  fmt::print("\n\"{}\": {} calls, {} tokens\n", workflow->name(), result->calls,
             result->usage.total());
  return result->stop.error ? 1 : 0;
}
