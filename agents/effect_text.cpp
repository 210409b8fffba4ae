#include <moderato/agents/effect_text.hpp>

namespace moderato {

Json encode_text(const Result<std::string>& result) {
  if (result) return Json{{"text", valid_utf8(*result)}};
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

}  // namespace moderato
