#include <moderato/llm/providers/openai_request.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

// Why splicing
//
// A conversation of n turns sends its history n times. Building a JSON document of 200 messages and
// printing it takes 744 µs; appending the bytes that each message has kept since its first use
// takes 5 µs, and the bytes are the same ones every time, which providers' prompt caches like. So a
// message is written when it is first sent (StoredMessage::wire), and a body is: what stands
// before, the messages' bytes with commas between them, what stands after.
//
// Even copying those bytes is work that grows with the history. Where the request lends a memory of
// its list, the last body is kept there: the next one cuts off what stood after the messages, and
// appends the new ones.

namespace moderato {
namespace {

/// Members of a request that have fields of their own: in `extra` they would be sent twice, and the
/// output cap or the number of choices would get round the budget.
constexpr std::array<std::string_view, 16> own_members{"model",
                                                       "messages",
                                                       "tools",
                                                       "tool_choice",
                                                       "temperature",
                                                       "top_p",
                                                       "stop",
                                                       "seed",
                                                       "max_tokens",
                                                       "stream",
                                                       "response_format",
                                                       "parallel_tool_calls",
                                                       "n",
                                                       "stream_options",
                                                       "reasoning_effort",
                                                       "max_completion_tokens"};

/// Reserved for what stands after the messages.
constexpr std::size_t room_after_messages = 512;

// Their addresses name this dialect's bytes among those of a message, with names and without.
const char wire_with_names = 0;
const char wire_without_names = 0;

void append_member(std::string& out, std::string_view name) {
  if (out.back() != '{') out += ',';
  out += '"';
  out += name;
  out += "\":";
}

void append_text_member(std::string& out, std::string_view name, std::string_view text) {
  append_member(out, name);
  append_json_string(out, text);
}

void append_parts(std::string& out, const std::vector<ContentPart>& parts) {
  out += '[';
  for (const ContentPart& part : parts) {
    if (out.back() != '[') out += ',';
    if (const auto* text = std::get_if<TextPart>(&part)) {
      out += R"({"type":"text","text":)";
      append_json_string(out, text->text);
      out += '}';
    } else {
      const auto& image = std::get<ImagePart>(part);
      out += R"({"type":"image_url","image_url":{"url":)";
      append_json_string(out, image.url);
      if (!image.detail.empty()) append_text_member(out, "detail", image.detail);
      out += "}}";
    }
  }
  out += ']';
}

void append_function(std::string& out, std::string_view name, std::string_view arguments) {
  out += R"({"name":)";
  append_json_string(out, openai_name(name));
  // Templates of open models parse the arguments: an empty text would break them.
  append_text_member(out, "arguments", arguments.empty() ? "{}" : arguments);
  out += '}';
}

/// Some servers give calls no id, but the API wants the answer to name the call: the place of the
/// call in its message serves for both.
std::string call_id(std::string_view id, std::size_t place) {
  return id.empty() ? fmt::format("call_{}", place) : std::string(id);
}

void append_calls(std::string& out, const Message& message) {
  if (!message.tool_calls.empty()) {
    append_member(out, "tool_calls");
    out += '[';
    for (std::size_t place = 0; place < message.tool_calls.size(); ++place) {
      const ToolCall& call = message.tool_calls[place];
      out += place == 0 ? R"({"id":)" : R"(,{"id":)";
      append_json_string(out, call_id(call.id, place));
      out += R"(,"type":"function","function":)";
      append_function(out, call.name, call.arguments);
      out += '}';
    }
    out += ']';
  }
  if (message.function_call) {
    append_member(out, "function_call");
    append_function(out, message.function_call->name, message.function_call->arguments);
  }
}

void append_tool_response(std::string& out, const ToolResponse& response, std::size_t place) {
  out += R"({"role":)";
  append_json_string(out, to_string(response.role));
  if (response.role == Role::function) {
    append_text_member(out, "name", openai_name(response.name));
  } else {
    append_text_member(out, "tool_call_id", call_id(response.tool_call_id, place));
  }
  append_text_member(out, "content", response.content);
  out += '}';
}

/// A message without regard to its tool_responses.
void append_single_message(std::string& out, const Message& message, bool with_name) {
  const Role role = message.role;
  const bool answers_call = role == Role::tool || role == Role::function;
  out += R"({"role":)";
  append_json_string(out, to_string(role));
  append_member(out, "content");
  if (message.content.is_parts() && !answers_call) {
    append_parts(out, message.content.parts());
  } else if (message.content.is_null() && role == Role::assistant) {
    out += "null";  // Only an assistant may say nothing (it calls, or refuses).
  } else {
    append_json_string(out, message.text());
  }
  if (role == Role::function || (with_name && role != Role::tool && !message.name.empty())) {
    append_text_member(out, "name", openai_name(message.name));
  }
  if (role == Role::tool) append_text_member(out, "tool_call_id", call_id(message.tool_call_id, 0));
  if (role == Role::assistant) {
    if (!message.refusal.empty()) append_text_member(out, "refusal", message.refusal);
    append_calls(out, message);
  }
  out += '}';
}

void append_number(std::string& out, std::string_view name, double value) {
  append_member(out, name);
  fmt::format_to(std::back_inserter(out), "{}", value);
}

void append_tool_choice(std::string& out, const std::string& choice) {
  if (choice.empty()) return;
  append_member(out, "tool_choice");
  if (choice == "auto" || choice == "none" || choice == "required") {
    append_json_string(out, choice);
  } else {
    out += R"({"type":"function","function":{"name":)";
    append_json_string(out, openai_name(choice));
    out += "}}";
  }
}

void append_sampling(std::string& out, const Sampling& sampling) {
  if (sampling.temperature) append_number(out, "temperature", *sampling.temperature);
  if (sampling.top_p) append_number(out, "top_p", *sampling.top_p);
  if (!sampling.stop.empty()) {
    append_member(out, "stop");
    out += '[';
    for (const std::string& stop : sampling.stop) {
      if (out.back() != '[') out += ',';
      append_json_string(out, stop);
    }
    out += ']';
  }
  if (sampling.seed) {
    append_member(out, "seed");
    out += std::to_string(*sampling.seed);
  }
  if (!sampling.response_format.is_null()) {
    append_member(out, "response_format");
    out += dump_json(sampling.response_format);
  }
  if (!sampling.reasoning_effort.empty()) {
    append_text_member(out, "reasoning_effort", sampling.reasoning_effort);
  }
  if (sampling.extra.is_object()) {
    for (const auto& [name, value] : sampling.extra.items()) {
      if (out.back() != '{') out += ',';
      append_json_string(out, name);
      out += ':';
      out += dump_json(value);
    }
  }
}

std::string tools_text(const std::vector<ToolDefinition>& tools) {
  std::string out = "[";
  for (const ToolDefinition& tool : tools) {
    if (out.size() > 1) out += ',';
    out += R"({"type":"function","function":{"name":)";
    append_json_string(out, openai_name(tool.name));
    if (!tool.description.empty()) append_text_member(out, "description", tool.description);
    append_member(out, "parameters");
    out += tool.parameters.is_null() ? R"({"type":"object","properties":{}})"
                                     : dump_json(tool.parameters);
    if (tool.strict) {
      append_member(out, "strict");
      out += "true";
    }
    out += "}}";
  }
  return out += ']';
}

std::optional<Error> find_fault(const Sampling& sampling) {
  const auto wrong = [](std::string text) {
    return Error{.code = ErrorCode::invalid_request, .message = std::move(text)};
  };
  for (const auto& number : {sampling.temperature, sampling.top_p}) {
    if (number && !std::isfinite(*number)) return wrong("temperature and top_p must be finite");
  }
  if (sampling.extra.is_null()) return std::nullopt;
  if (!sampling.extra.is_object()) return wrong("sampling.extra must be a JSON object");
  for (const std::string_view name : own_members) {
    if (sampling.extra.contains(name)) {
      return wrong(
          fmt::format("sampling.extra may not have '{}': {}", name,
                      name == "n" ? "a call has one reply" : "use the field of that name"));
    }
  }
  return std::nullopt;
}

}  // namespace

Result<OpenAIEndpoint> openai_endpoint(const std::string& base_url) {
  const auto wrong = [&](std::string_view why) {
    // Shown without user name and query, which may hold secrets.
    return fail(ErrorCode::configuration,
                fmt::format("base_url {}; expected something like https://api.openai.com/v1", why));
  };
  const std::size_t scheme_end = base_url.find("://");
  if (scheme_end == std::string::npos) return wrong("has no scheme (http:// or https://)");
  std::string scheme = base_url.substr(0, scheme_end);
  std::transform(scheme.begin(), scheme.end(), scheme.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (scheme != "http" && scheme != "https") return wrong("must begin with http:// or https://");
  if (std::any_of(base_url.begin(), base_url.end(),
                  [](unsigned char c) { return c <= ' ' || c == 0x7F; })) {
    return wrong("contains a blank or a control character");
  }
  if (base_url.find('#') != std::string::npos) return wrong("contains a '#'");
  const std::size_t host_start = scheme_end + 3;
  const std::size_t host_end = std::min(base_url.find_first_of("/?", host_start), base_url.size());
  std::string host = base_url.substr(host_start, host_end - host_start);
  if (host.find('@') != std::string::npos) {
    return wrong("contains a user name; pass the key as api_key");
  }
  if (!host.starts_with('[')) host.resize(std::min(host.find(':'), host.size()));
  if (host.empty()) return wrong("has no host");
  std::transform(host.begin(), host.end(), host.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });

  const std::size_t query = std::min(base_url.find('?'), base_url.size());
  std::string path = base_url.substr(0, query);
  while (path.ends_with('/')) path.pop_back();
  return OpenAIEndpoint{.url = path + "/chat/completions" + base_url.substr(query),
                        .host = std::move(host)};
}

std::string openai_name(std::string_view name) {
  std::string out(name.substr(0, 64));
  for (char& c : out) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-';
    if (!good) c = '_';
  }
  return out;
}

OpenAIRequestWriter::OpenAIRequestWriter(Options options)
    : options_(std::move(options)), start_("{") {
  append_text_member(start_, "model", options_.model);
  append_member(start_, "messages");
  start_ += '[';
}

void append_openai_message(std::string& out, const Message& message, bool with_name) {
  for (std::size_t place = 0; place < message.tool_responses.size(); ++place) {
    if (place > 0) out += ',';
    append_tool_response(out, message.tool_responses[place], place);
  }
  if (!message.tool_responses.empty()) {
    if (message.role == Role::tool) return;  // Its content only repeats what the answers say.
    out += ',';
  }
  append_single_message(out, message, with_name);
}

/// The body up to and with the newest message, without the bracket that closes the list.
std::string OpenAIRequestWriter::messages_text(const ModelRequest& request) const {
  const void* dialect = options_.send_names ? &wire_with_names : &wire_without_names;
  const auto wire = [&](const MessagePtr& message) {
    return message->wire(dialect, [&](const Message& content) {
      std::string bytes;
      append_openai_message(bytes, content, options_.send_names);
      return bytes;
    });
  };
  const MessageList& messages = request.messages;
  PromptMemory* memory = request.memory;
  std::string out;
  std::size_t written = 0;
  if (memory != nullptr && memory->dialect == dialect && memory->written.begins(messages) &&
      memory->body.starts_with(start_)) {
    out = std::move(memory->body);
    out.resize(memory->body_bytes);
    written = memory->written.messages;
  } else {
    out = start_;
  }
  std::size_t bytes = 0;
  for (std::size_t at = written; at < messages.size(); ++at) bytes += wire(messages[at]).size() + 1;
  if (out.capacity() < out.size() + bytes + room_after_messages) {
    // A list that grows doubles its room, one that is written once takes what it needs.
    out.reserve(
        std::max(out.size() + bytes + room_after_messages, written > 0 ? 2 * out.size() : 0));
  }
  for (std::size_t at = written; at < messages.size(); ++at) {
    if (at > 0) out += ',';
    out += wire(messages[at]);
  }
  if (memory != nullptr) {
    memory->dialect = dialect;
    memory->written.set(messages);
    memory->body.clear();
    memory->body_bytes = out.size();
  }
  return out;
}

void OpenAIRequestWriter::keep(const ProviderRequest& request, std::string body) {
  if (PromptMemory* memory = request.request.memory) memory->body = std::move(body);
}

void OpenAIRequestWriter::append_tools(std::string& out, const ModelRequest& request,
                                       const Sampling& sampling) {
  // Without tools a server refuses the settings that are about them.
  if (!request.tools || request.tools->empty()) return;
  append_member(out, "tools");
  out += *tools_.get(request.tools, [&] { return tools_text(*request.tools); });
  append_tool_choice(out, sampling.tool_choice);
  if (sampling.parallel_tool_calls) {
    append_member(out, "parallel_tool_calls");
    out += *sampling.parallel_tool_calls ? "true" : "false";
  }
}

Result<std::string> OpenAIRequestWriter::body(const ProviderRequest& request) {
  const Sampling& sampling = request.sampling();
  if (auto fault = find_fault(sampling)) return fail(std::move(*fault));
  std::string out = messages_text(request.request);
  out += ']';
  append_tools(out, request.request, sampling);
  append_sampling(out, sampling);
  if (request.max_output_tokens) {
    append_member(out, options_.max_completion_tokens ? "max_completion_tokens" : "max_tokens");
    out += std::to_string(*request.max_output_tokens);
  }
  if (request.on_delta) {
    out += R"(,"stream":true)";
    if (options_.stream_usage) out += R"(,"stream_options":{"include_usage":true})";
  }
  out += '}';
  return out;
}

}  // namespace moderato
