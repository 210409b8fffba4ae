#include <moderato/agents/effect_text.hpp>

namespace moderato {

Json encode_text(const Result<std::string>& result) {
  if (result) return Json{{"text", valid_utf8(*result)}};
  if (result.error().code == ErrorCode::awaiting_human) return Json(Json::value_t::discarded);
  return Json{{"error", to_string(result.error().code)},
              {"message", valid_utf8(result.error().message)}};
}

Result<Result<std::string>> decode_text(const Json& json) {
  const auto member = [&](const char* name) -> const std::string* {
    const auto found = json.find(name);
    return found != json.end() ? found->get_ptr<const std::string*>() : nullptr;
  };
  if (const std::string* text = member("text")) return Result<std::string>(*text);
  const std::string* code = member("error");
  const std::string* message = member("message");
  const auto known = code != nullptr ? error_code_from_string(*code) : std::nullopt;
  if (!known || message == nullptr) {
    return fail(ErrorCode::storage, "a recorded text has neither \"text\" nor a known \"error\"");
  }
  return Result<std::string>(fail(*known, *message));
}

Json encode_tool_effect(const ToolEffect& effect) {
  Json json = encode_text(effect.text);
  const CallTotals::Snapshot& spent = effect.spent;
  if (spent.attempts == 0) return json;
  json["spent"] = {{"calls", spent.calls},
                   {"attempts", spent.attempts},
                   {"input", spent.usage.input},
                   {"output", spent.usage.output},
                   {"cached_input", spent.usage.cached_input},
                   {"reasoning", spent.usage.reasoning},
                   {"source", static_cast<int>(spent.usage.source)},
                   {"cost", spent.cost},
                   {"queue_wait_ns", spent.queue_wait.count()}};
  return json;
}

Result<ToolEffect> decode_tool_effect(const Json& json) {
  auto text = decode_text(json);
  if (!text) return tl::unexpected<Error>(std::move(text).error());
  ToolEffect effect{.text = std::move(*text)};
  const auto found = json.find("spent");
  if (found == json.end()) return effect;
  const auto number = [&](const char* name) { return whole_number(found->at(name)); };
  effect.spent = {.calls = number("calls"),
                  .attempts = number("attempts"),
                  .usage = {.input = number("input"),
                            .output = number("output"),
                            .cached_input = number("cached_input"),
                            .reasoning = number("reasoning"),
                            .source = static_cast<UsageSource>(number("source"))},
                  .cost = found->at("cost"),
                  .queue_wait = Duration(number("queue_wait_ns"))};
  return effect;
}

}  // namespace moderato
