#include "tool_behavior.hpp"

#include <fmt/core.h>

#include <stdexcept>

namespace moderato::conformance {
namespace {

// Parameters without types: the recorded tools take what they are given.
Json parameters_of(const std::string& behavior) {
  Json properties = Json::object();
  Json required = Json::array();
  if (behavior == "echo" || behavior == "async_echo") {
    properties["text"] = Json::object();
    required.push_back("text");
  } else if (behavior == "add") {
    properties["a"] = Json::object();
    properties["b"] = Json::object();
    required.push_back("a");
  } else if (behavior == "fail") {
    properties["text"] = Json::object();
  }
  return {{"type", "object"},
          {"properties", std::move(properties)},
          {"required", std::move(required)},
          {"additionalProperties", false}};
}

ToolDefinition definition_of(const Value& tool) {
  const std::string name = tool.at("name");
  return {.name = name,
          .description = tool.value("description", name + " tool"),
          .parameters = parameters_of(tool.at("behavior"))};
}

// Python's `+` on what JSON can hold.
Json sum(const Json& a, const Json& b) {
  if (a.is_string() && b.is_string()) return a.get<std::string>() + b.get<std::string>();
  if (a.is_number_integer() && b.is_number_integer()) {
    return a.get<std::int64_t>() + b.get<std::int64_t>();
  }
  if (a.is_number() && b.is_number()) return a.get<double>() + b.get<double>();
  throw std::runtime_error("unsupported operand types for +");
}

}  // namespace

Tool declared_tool(const Value& tool) {
  return Tool(RawTool{.definition = definition_of(tool)});
}

Tool behaving_tool(std::shared_ptr<Recorder> recorder, std::stop_source interrupt,
                   const Value& tool) {
  const auto function = [=, behavior = tool.at("behavior").get<std::string>()](
                            const Json& given, const ToolContext&) -> Result<std::string> {
    Json arguments = given;
    if (behavior == "add" && !arguments.contains("b")) arguments["b"] = 1;
    if (behavior == "fail" && !arguments.contains("text")) arguments["text"] = "";
    recorder->trace.push_back({"tool", tool.at("name"), as_value(arguments)});
    if (behavior == "fail") throw std::runtime_error(tool.value("message", "boom"));
    if (behavior == "interrupt") {
      interrupt.request_stop();
      return fail(ErrorCode::cancelled, "interrupted");
    }
    if (behavior == "add") return result_text(sum(arguments.at("a"), arguments.at("b")));
    if (behavior == "const") return result_text(as_json(tool.value("value", Value())));
    return result_text(arguments.at("text"));
  };
  return Tool(RawTool{.definition = definition_of(tool), .function = function});
}

}  // namespace moderato::conformance
