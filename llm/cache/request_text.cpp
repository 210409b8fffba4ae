#include <moderato/llm/cache/request_text.hpp>

namespace moderato {
namespace {

template <class T>
void add(Json& json, const char* name, const std::optional<T>& value) {
  if (value) json[name] = *value;
}

void add(Json& json, const char* name, const std::string& value) {
  if (!value.empty()) json[name] = value;
}

void add(Json& json, const char* name, const Json& value) {
  if (!value.is_null()) json[name] = value;
}

}  // namespace

// The whole text and not a hash of it: two requests that look the same to a hash would get each
// other's answers.
std::string request_text(std::string_view model, const ModelRequest& request,
                         const Sampling& sampling) {
  Json text{{"model", model}};
  add(text, "temperature", sampling.temperature);
  add(text, "top_p", sampling.top_p);
  if (!sampling.stop.empty()) text["stop"] = sampling.stop;
  add(text, "seed", sampling.seed);
  add(text, "max_output_tokens", sampling.max_output_tokens);
  add(text, "response_format", sampling.response_format);
  add(text, "parallel_tool_calls", sampling.parallel_tool_calls);
  add(text, "reasoning_effort", sampling.reasoning_effort);
  add(text, "tool_choice", sampling.tool_choice);
  add(text, "extra", sampling.extra);
  if (request.tools && !request.tools->empty()) {
    Json& tools = text["tools"] = Json::array();
    for (const ToolDefinition& tool : *request.tools) {
      tools.push_back({tool.name, tool.description, tool.parameters, tool.strict});
    }
  }
  Json& messages = text["messages"] = Json::array();
  for (const MessagePtr& message : request.messages) messages.push_back(to_json(**message));
  return text.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace moderato
