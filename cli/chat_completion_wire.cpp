#include "chat_completion_wire.hpp"

#include <fmt/format.h>

#include <moderato/core/json.hpp>
#include <moderato/llm/providers/reply_pieces.hpp>

namespace moderato {
namespace {

namespace dom = simdjson::dom;

/// When all answers of the simulated provider were "created".
constexpr std::int64_t created = 1'767'225'600;  // 2026-01-01

tl::unexpected<Error> wrong(std::string text) {
  return fail(ErrorCode::invalid_request, std::move(text));
}

/// Leaves `into` as it is where the member is absent or of another type.
template <class T>
void read_optional(const simdjson::simdjson_result<dom::element>& member, T& into) {
  T value{};
  if (member.get(value) == simdjson::SUCCESS) into = value;
}

/// The text of a message's content, where it is a text or has parts; `joined` holds the latter.
std::string_view text_of(const dom::element& content, std::string& joined) {
  if (content.is_string()) return content.get_string().value();
  joined.clear();
  if (content.is_array()) {
    for (const dom::element part : content.get_array()) {
      std::string_view text;
      if (part["text"].get(text) == simdjson::SUCCESS) joined += text;
    }
  }
  return joined;
}

Result<void> read_messages(const dom::element& body, SimulatedRequest& read, std::string& joined) {
  dom::array messages;
  if (body["messages"].get(messages) != simdjson::SUCCESS || messages.size() == 0) {
    return wrong("'messages' must be an array with at least one message");
  }
  ScriptQuestion& question = read.question;
  for (const dom::element message : messages) {
    if (message["role"].get(question.last_role) != simdjson::SUCCESS) {
      return wrong(fmt::format("messages[{}] has no 'role'", read.messages));
    }
    if (question.last_role == "assistant") ++question.replies_so_far;
    ++read.messages;
    dom::element content;
    const bool has_content = message["content"].get(content) == simdjson::SUCCESS;
    question.last_text = has_content ? text_of(content, joined) : std::string_view();
    read.prompt_characters += static_cast<std::int64_t>(question.last_text.size());
  }
  return {};
}

void append_id(std::string& out, const SimulatedAnswer& answer, std::string_view model,
               std::string_view object) {
  out += R"({"id":"chatcmpl-)";
  out += answer.request_id;
  out += R"(","object":")";
  out += object;
  out += fmt::format(R"(","created":{},"model":)", created);
  append_json_string(out, model);
}

void append_usage(std::string& out, const Usage& usage) {
  fmt::format_to(std::back_inserter(out),
                 R"("usage":{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{}}})",
                 usage.input, usage.output, usage.total());
}

void append_call(std::string& out, const ToolCall& call, std::string_view arguments) {
  out += R"("id":)";
  append_json_string(out, call.id);
  out += R"(,"type":"function","function":{"name":)";
  append_json_string(out, call.name);
  out += R"(,"arguments":)";
  append_json_string(out, arguments);
  out += "}";
}

}  // namespace

Result<ChatCompletionRequest> ChatCompletionReader::read(std::string& body) {
  body.reserve(body.size() + simdjson::SIMDJSON_PADDING);
  dom::element document;
  const auto error = parser_.parse(body.data(), body.size(), false).get(document);
  if (error != simdjson::SUCCESS || !document.is_object()) {
    return wrong("We could not parse the JSON body of your request.");
  }
  ChatCompletionRequest read;
  if (document["model"].get(read.request.question.model) != simdjson::SUCCESS) {
    return wrong("you must provide a model parameter");
  }
  if (auto ok = read_messages(document, read.request, last_text_); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  read_optional(document["stream"], read.stream);
  read_optional(document["stream_options"]["include_usage"], read.stream_usage);
  std::int64_t most = 0;
  if (document["max_completion_tokens"].get(most) == simdjson::SUCCESS ||
      document["max_tokens"].get(most) == simdjson::SUCCESS) {
    if (most < 1) return wrong("max_tokens must be at least 1");
    read.request.max_tokens = most;
  }
  dom::array tools;
  if (document["tools"].get(tools) == simdjson::SUCCESS && tools.size() > 0) {
    read_optional((*tools.begin())["function"]["name"], read.request.question.tool);
  }
  return read;
}

std::string chat_completion(const SimulatedAnswer& answer, std::string_view model) {
  std::string out;
  out.reserve(answer.text.size() + 400);
  append_id(out, answer, model, "chat.completion");
  out += R"(,"choices":[{"index":0,"message":{"role":"assistant","content":)";
  if (answer.tool_calls.empty()) {
    append_json_string(out, answer.text);
  } else {
    out += R"(null,"tool_calls":[)";
    for (const ToolCall& call : answer.tool_calls) {
      if (&call != &answer.tool_calls.front()) out += ",";
      out += "{";
      append_call(out, call, call.arguments);
      out += "}";
    }
    out += "]";
  }
  out += R"(,"refusal":null},"logprobs":null,"finish_reason":")";
  out += answer.finish_reason;
  out += R"("}],)";
  append_usage(out, answer.usage);
  out += "}";
  return out;
}

std::vector<std::string> chat_completion_events(const SimulatedAnswer& answer,
                                                std::string_view model, bool usage) {
  std::vector<std::string> events;
  std::string head = "data: ";
  append_id(head, answer, model, "chat.completion.chunk");
  const auto add = [&](std::string_view delta, std::string_view finish_reason) {
    std::string event = head;
    event += R"(,"choices":[{"index":0,"delta":)";
    event += delta;
    event += R"(,"finish_reason":)";
    event += finish_reason;
    event += usage ? R"(}],"usage":null})" : "}]}";
    event += "\n\n";
    events.push_back(std::move(event));
  };
  add(R"({"role":"assistant","content":""})", "null");
  for_each_piece(answer.text, [&](std::string_view piece) {
    std::string delta = R"({"content":)";
    append_json_string(delta, piece);
    delta += "}";
    add(delta, "null");
  });
  for (std::size_t i = 0; i < answer.tool_calls.size(); ++i) {
    const ToolCall& call = answer.tool_calls[i];
    std::string delta = fmt::format(R"({{"tool_calls":[{{"index":{},)", i);
    append_call(delta, call, "");
    add(delta + "}]}", "null");
    const std::size_t half = call.arguments.size() / 2;  // arguments arrive in pieces, too
    for (const auto part : {std::string_view(call.arguments).substr(0, half),
                            std::string_view(call.arguments).substr(half)}) {
      delta = fmt::format(R"({{"tool_calls":[{{"index":{},"function":{{"arguments":)", i);
      append_json_string(delta, part);
      add(delta + "}}]}", "null");
    }
  }
  add("{}", "\"" + answer.finish_reason + "\"");
  if (usage) {
    std::string event = head + R"(,"choices":[],)";
    append_usage(event, answer.usage);
    events.push_back(event + "}\n\n");
  }
  events.emplace_back("data: [DONE]\n\n");
  return events;
}

}  // namespace moderato
