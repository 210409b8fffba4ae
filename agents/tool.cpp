#include <moderato/agents/tool.hpp>
#include <moderato/agents/tool_call.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>

namespace moderato {
namespace {

bool is_tool_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), allowed);
}

void check_definition(const ToolDefinition& definition) {
  if (!is_tool_name(definition.name)) {
    throw std::invalid_argument(
        fmt::format("a tool's name has 1 to 64 of the characters a-z A-Z 0-9 _ -, unlike \"{}\"",
                    definition.name));
  }
  const Json& schema = definition.parameters;
  if (schema.is_null()) return;
  if (!schema.is_object() || schema.value("type", Json("object")) != "object") {
    throw std::invalid_argument(fmt::format(
        "the parameters of the tool {} must be a JSON Schema of type object", definition.name));
  }
}

bool requires_nothing(const Json& schema) {
  return schema.is_null() || schema.value("required", Json::array()).empty();
}

// Many models send text that is JSON but for raw line breaks in strings. The repair is tried
// second: it damages valid text in which a string ends with an escaped backslash.
Result<Json> parse_arguments(std::string_view text, const Json& schema) {
  const bool blank = text.find_first_not_of(" \t\r\n") == std::string_view::npos;
  if (blank && requires_nothing(schema)) return Json::object();
  auto parsed = parse_json(text, "tool arguments");
  if (!parsed) {
    if (auto repaired = parse_json(repair_json(text), "tool arguments")) return repaired;
    return fail(ErrorCode::tool_failed,
                parsed.error().message + "\n The argument must be in JSON format.");
  }
  return parsed;
}

Result<void> check_arguments(const RawTool& raw, const Json& arguments) {
  static const Json any_object{{"type", "object"}};
  const Json& schema = raw.definition.parameters;
  const auto wrong =
      check_json(arguments, schema.is_null() ? any_object : schema, raw.unknown_arguments);
  if (wrong.empty()) return {};
  std::string message = fmt::format("wrong arguments for {}:", raw.definition.name);
  for (const std::string& problem : wrong) message += (wrong.size() > 1 ? "\n- " : " ") + problem;
  return fail(ErrorCode::tool_failed, std::move(message));
}

// Cut where a character begins, and say so: a model that does not know that it sees a part takes it
// for the whole.
std::string bounded(std::string text, std::size_t most) {
  if (most == 0 || text.size() <= most) return text;
  const std::size_t whole = text.size();
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  text.resize(end);
  return text + fmt::format("\n[cut: the first {} of {} bytes]", end, whole);
}

Result<std::string> run(const RawTool& raw, const Json& arguments, const ToolContext& context) {
  try {
    return raw.function(arguments, context);
  } catch (const std::exception& error) {
    return fail(ErrorCode::tool_failed, error.what());
  } catch (...) {
    return fail(ErrorCode::tool_failed, "the tool threw something that is no std::exception");
  }
}

}  // namespace

Tool::Tool(RawTool raw) {
  check_definition(raw.definition);
  if (raw.options.max_attempts < 1 || (raw.options.max_attempts > 1 && !raw.options.idempotent)) {
    throw std::invalid_argument(fmt::format(
        "the tool {} cannot have max_attempts {}: at least 1, and more only if it is idempotent",
        raw.definition.name, raw.options.max_attempts));
  }
  raw.options.strict = raw.definition.strict;
  raw_ = std::make_shared<const RawTool>(std::move(raw));
}

const ToolDefinition& Tool::definition() const noexcept {
  return raw_->definition;
}
const ToolOptions& Tool::options() const noexcept {
  return raw_->options;
}
bool Tool::has_function() const noexcept {
  return raw_->function != nullptr;
}

Result<void> Tool::check(std::string_view arguments_json) const {
  if (!has_function()) {
    return fail(ErrorCode::tool_failed, fmt::format("Function {} not found.", name()));
  }
  auto arguments = parse_arguments(arguments_json, definition().parameters);
  if (!arguments) return fail(std::move(arguments).error());
  return check_arguments(*raw_, *arguments);
}

Result<std::string> Tool::call(std::string_view arguments_json, const ToolContext& context) const {
  if (!has_function()) {
    return fail(ErrorCode::tool_failed, fmt::format("Function {} not found.", name()));
  }
  auto arguments = parse_arguments(arguments_json, definition().parameters);
  if (!arguments) return fail(std::move(arguments).error());
  if (auto fits = check_arguments(*raw_, *arguments); !fits) return fail(std::move(fits).error());

  auto result = run(*raw_, *arguments, context);
  const std::size_t most = options().max_result_bytes;
  if (result) return bounded(valid_utf8(*result), most);
  Error error = std::move(result).error();
  // What works in the session may have met with something that no model can mend.
  const bool kept = error.code == ErrorCode::cancelled ||
                    (options().acts_in_session && ends_the_chat(error.code));
  if (!kept) error.code = ErrorCode::tool_failed;
  error.message = bounded(valid_utf8(error.message), most);
  if (error.message.empty()) error.message = "the tool failed and did not say why";
  return fail(std::move(error));
}

namespace detail {

ToolDefinition define_tool(std::string name, std::string description, bool strict,
                           const std::vector<Parameter>& parameters) {
  Json schema = object_schema();
  for (const auto& [arg, type, optional] : parameters) {
    if (arg.name.empty() || schema["properties"].contains(arg.name)) {
      throw std::invalid_argument(fmt::format(
          "the tool {} needs a different name for each argument, not \"{}\"", name, arg.name));
    }
    Json property = with_range(type, arg.range);
    if (!arg.default_value.is_null()) {
      const auto wrong = check_json(arg.default_value, property, UnknownProperties::wrong);
      if (!wrong.empty()) {
        throw std::invalid_argument(
            fmt::format("the default of {} in the tool {}: {}", arg.name, name, wrong.front()));
      }
      property["default"] = arg.default_value;
    }
    add_property(schema, arg.name, std::move(property), arg.description,
                 !optional && arg.default_value.is_null());
  }
  return {.name = std::move(name),
          .description = std::move(description),
          .parameters = strict ? strict_schema(std::move(schema)) : std::move(schema),
          .strict = strict};
}

const Json& find_argument(const Json& arguments, const Arg& arg) {
  const auto found = arguments.find(arg.name);
  if (found == arguments.end()) return arg.default_value;
  return found->is_null() && !arg.default_value.is_null() ? arg.default_value : *found;
}

void throw_wrong_argument(const Arg& arg, const std::exception& why) {
  throw std::invalid_argument(fmt::format("{}: {}", arg.name, why.what()));
}

}  // namespace detail
}  // namespace moderato
