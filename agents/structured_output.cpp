#include <moderato/agents/structured_output.hpp>

#include <fmt/core.h>

#include <stdexcept>
#include <vector>

#include <moderato/agents/code_execution/code_block.hpp>
#include <moderato/agents/cut_by_budget.hpp>
#include <moderato/agents/tool_schema.hpp>

namespace moderato {
namespace {

// Strict mode describes no maps; a shape that has one is asked for without it.
Json response_format(const Json& schema, const std::string& name) {
  Json described{{"name", name}};
  try {
    described["schema"] = strict_schema(schema);
    described["strict"] = true;
  } catch (const std::invalid_argument&) {
    described["schema"] = schema;
  }
  return {{"type", "json_schema"}, {"json_schema", std::move(described)}};
}

Message instruction(const Json& schema) {
  return Message::system(
      "Answer with one JSON object and nothing else. It must fit this JSON Schema:\n" +
      dump_json(schema));
}

Message correction(const Error& error) {
  return Message::user("That answer cannot be used: " + error.message +
                       "\nAnswer again with the whole corrected JSON object and nothing else.");
}

// Servers that know no response_format, or not this one, say so with a 400.
bool is_refusal_of_format(const Error& error) {
  return error.code == ErrorCode::invalid_request || error.code == ErrorCode::configuration;
}

std::string_view braces_in(std::string_view text) {
  const std::size_t begin = text.find('{');
  const std::size_t end = text.rfind('}');
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) return {};
  return text.substr(begin, end - begin + 1);
}

}  // namespace

Result<Json> find_json(std::string_view text, const Json& schema) {
  std::vector<std::string> candidates{std::string(text)};
  for (CodeBlock& block : fenced_blocks(text)) candidates.push_back(std::move(block.code));
  candidates.emplace_back(braces_in(text));
  std::string message;  // about the first one that does not fit
  for (const std::string& candidate : candidates) {
    const auto parsed = parse_json(candidate, "the answer");
    if (!parsed || !parsed->is_object()) continue;
    const auto wrong = check_json(*parsed, schema, UnknownProperties::as_schema_says);
    if (wrong.empty()) return *parsed;
    if (!message.empty()) continue;
    message = "it does not fit the schema:";
    for (const std::string& problem : wrong) message += "\n- " + problem;
  }
  return fail(ErrorCode::protocol, message.empty() ? "it holds no JSON object" : message);
}

// Asking by response_format is the surest way, where the provider knows it; but it is no proof:
// servers that ignore it answer with prose, and models that refuse answer with neither. So every
// answer is checked, and one that does not fit goes back with what is wrong. Each try is paid for,
// so their number is bounded.
Result<Json> complete_json(const Model& model, ModelRequest request, const Json& schema,
                           const StructuredOptions& options, const CallContext& context) {
  if (options.max_tries < 1) {
    return fail(ErrorCode::invalid_request, "complete_json: max_tries must be at least 1");
  }
  if (request.messages.empty()) {
    return fail(ErrorCode::invalid_request, "complete_json: there are no messages");
  }
  request.tools = nullptr;
  request.sampling.tool_choice.clear();
  bool by_format = options.ask_by != ShapeRequest::words;
  const auto ask_in_words = [&] {
    by_format = false;
    request.sampling.response_format = nullptr;
    request.messages.push_back(store(instruction(schema)));
  };
  if (by_format) {
    request.sampling.response_format = response_format(schema, options.name);
  } else {
    ask_in_words();
  }
  for (int tries = 1;; ++tries) {
    auto reply = model.complete(request, context);
    if (!reply && by_format && options.ask_by == ShapeRequest::automatic &&
        is_refusal_of_format(reply.error())) {
      ask_in_words();
      reply = model.complete(request, context);
    }
    if (!reply) return fail(std::move(reply).error());
    const std::string text = reply->message.text();
    auto found = find_json(text, schema);
    if (found) return found;
    if (cut_by_budget(model, request, *reply, context)) {
      return budget_cut("the answer", *reply, context);
    }
    if (tries == options.max_tries) {
      return fail(ErrorCode::protocol,
                  fmt::format("no answer of {} tries can be used; the last: {}", tries,
                              found.error().message));
    }
    request.messages.push_back(store(Message::assistant(text)));
    request.messages.push_back(store(correction(found.error())));
  }
}

namespace detail {

std::pair<ModelRequest, CallContext> question_for(const ConversableAgent& agent,
                                                  std::string question, Session* session) {
  ModelRequest request{.sampling = agent.options().sampling};
  if (!agent.options().system_message.empty()) {
    request.messages.push_back(store(Message::system(agent.options().system_message)));
  }
  request.messages.push_back(store(Message::user(std::move(question))));
  CallContext context;
  if (session != nullptr) context = session->context(agent.name(), Purpose::reply);
  context.agent = agent.name();
  return {std::move(request), std::move(context)};
}

}  // namespace detail
}  // namespace moderato
