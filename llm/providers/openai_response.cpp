#include <moderato/llm/providers/openai_response.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include <moderato/core/json.hpp>
#include <moderato/llm/providers/openai_error.hpp>

namespace moderato {
namespace {

constexpr std::size_t max_kept_parser_bytes = 1024UL * 1024;

Result<ModelReply> read_choice(const OpenAIJson& choice) {
  const OpenAIJson message = choice["message"];
  ModelReply reply{.finish_reason = std::string(choice["finish_reason"].text())};
  reply.message.role = Role::assistant;
  if (const OpenAIJson content = message["content"]) reply.message.content = content.joined_text();
  reply.message.refusal = message["refusal"].text();
  message["tool_calls"].each([&](const OpenAIJson& call) {
    const OpenAIJson function = call["function"];
    reply.message.tool_calls.push_back({.id = std::string(call["id"].text()),
                                        .name = std::string(function["name"].text()),
                                        .arguments = read_openai_arguments(function["arguments"])});
  });
  if (const OpenAIJson call = message["function_call"]) {
    reply.message.function_call =
        FunctionCall{std::string(call["name"].text()), read_openai_arguments(call["arguments"])};
  }
  if (reply.finish_reason == "content_filter" && reply.message.content.is_null() &&
      !reply.message.has_calls()) {
    return openai_filtered();
  }
  return reply;
}

}  // namespace

OpenAIJson OpenAIJson::operator[](std::string_view name) const noexcept {
  simdjson::dom::object object;
  simdjson::dom::element member;
  if (!present_ || element_.get(object) || object.at_key(name).get(member) || member.is_null()) {
    return {};
  }
  return OpenAIJson(member);
}

std::string_view OpenAIJson::text() const noexcept {
  std::string_view text;
  return present_ && !element_.get(text) ? text : std::string_view();
}

std::string OpenAIJson::joined_text() const {
  if (!is_list()) return std::string(text());
  std::string joined;
  each([&](const OpenAIJson& part) { joined += part["text"].text(); });
  return joined;
}

std::optional<std::int64_t> OpenAIJson::number() const noexcept {
  std::int64_t number = 0;
  if (!present_ || element_.get(number)) return std::nullopt;
  return number;
}

OpenAIJson OpenAIJson::first() const noexcept {
  simdjson::dom::array items;
  if (!is_list() || element_.get(items) || items.begin() == items.end()) return {};
  return OpenAIJson(*items.begin());
}

std::string OpenAIJson::dump() const {
  return present_ ? std::string(simdjson::minify(element_)) : std::string();
}

Result<OpenAIJson> parse_openai_json(simdjson::dom::parser& parser, std::string_view text,
                                     std::string_view what) {
  simdjson::dom::element root;
  auto error = parser.parse(text.data(), text.size()).get(root);
  if (error == simdjson::UTF8_ERROR) {
    const std::string valid = valid_utf8(text);
    error = parser.parse(valid).get(root);
  }
  if (!error) return OpenAIJson(root);
  return fail(ErrorCode::protocol, fmt::format("{} is not JSON ({}): {}", what,
                                               simdjson::error_message(error), excerpt(text)));
}

Usage read_openai_usage(const OpenAIJson& usage) {
  const auto input = usage["prompt_tokens"].number();
  const auto output = usage["completion_tokens"].number();
  const auto total = usage["total_tokens"].number();
  if (!input || *input <= 0 || (!output && !total)) return {};
  const std::int64_t rest = total.value_or(0) - *input;  // some bill reasoning there alone
  return {.input = *input,
          .output = std::max({output.value_or(0), rest, std::int64_t{0}}),
          .cached_input = usage["prompt_tokens_details"]["cached_tokens"].number().value_or(0),
          .reasoning = usage["completion_tokens_details"]["reasoning_tokens"].number().value_or(0),
          .source = UsageSource::measured};
}

bool is_bill_for(const Usage& usage, const Message& message) noexcept {
  return usage.output > 0 ||
         (message.content.is_null() && message.refusal.empty() && !message.has_calls()) ||
         message.content == Content("");
}

std::string read_openai_arguments(const OpenAIJson& arguments) {
  return arguments.is_text() ? std::string(arguments.text()) : arguments.dump();
}

tl::unexpected<Error> openai_filtered() {
  return fail(ErrorCode::content_filtered,
              "the provider's content filter let nothing of the answer through");
}

void read_openai_reply(std::string_view body, ProviderOutcome& outcome) {
  // A parser's memory is worth keeping, unless the reply was a huge one. Nothing below waits, so
  // the fibers of a thread can share it.
  thread_local simdjson::dom::parser kept;
  std::optional<simdjson::dom::parser> own;
  if (body.size() > max_kept_parser_bytes) own.emplace();
  simdjson::dom::parser& parser = own ? *own : kept;
  const auto root = parse_openai_json(parser, body, "the answer");
  if (!root) {
    outcome.reply = tl::unexpected<Error>(root.error());
    return;
  }
  const Usage usage = read_openai_usage((*root)["usage"]);
  if (usage.source != UsageSource::none) outcome.usage_so_far = usage;

  const OpenAIJson choice = (*root)["choices"].first();
  if (!choice && (*root)["error"]) {
    outcome.reply = fail(read_openai_error(200, body, outcome.quota));
  } else if (!choice) {
    outcome.reply = fail(ErrorCode::protocol, "the answer has no choices: " + excerpt(body));
  } else if (!choice["message"]) {
    outcome.reply = fail(ErrorCode::protocol, "the choice has no message: " + excerpt(body));
  } else {
    outcome.reply = read_choice(choice);
  }
  if (!outcome.reply) return;
  if (is_bill_for(usage, outcome.reply->message)) outcome.reply->usage = usage;
  outcome.reply->model = (*root)["model"].text();
}

}  // namespace moderato
