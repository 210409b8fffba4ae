#include <moderato/llm/providers/openai_error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include <moderato/core/json.hpp>
#include <moderato/llm/providers/quota_signals.hpp>

// Why the code decides before the status
//
// A 429 means three things that want opposite reactions: wait (rate_limit_exceeded), never again
// (Request too large: the call alone exceeds the quota), and somebody has to pay
// (insufficient_quota and its younger relatives). Retrying the last two only burns the quota that
// the others need. In the same way a 400 may be a prompt that is too long, and a 200 may carry an
// error.

namespace moderato {
namespace {

constexpr std::size_t max_message_bytes = 2000;

struct Meaning {
  std::string_view word;
  ErrorCode code;
};

constexpr std::array<Meaning, 31> meanings{{
    {"insufficient_quota", ErrorCode::quota_exhausted},
    {"credit_balance_exhausted", ErrorCode::quota_exhausted},
    {"organization_spend_limit_exceeded", ErrorCode::quota_exhausted},
    {"project_spend_limit_exceeded", ErrorCode::quota_exhausted},
    {"organization_usage_limit_exceeded", ErrorCode::quota_exhausted},
    {"enforced_spend_limit_reached", ErrorCode::quota_exhausted},
    {"billing_hard_limit_reached", ErrorCode::quota_exhausted},
    {"billing_not_active", ErrorCode::quota_exhausted},
    {"rate_limit_exceeded", ErrorCode::rate_limited},
    {"slow_down", ErrorCode::overloaded},
    {"server_is_overloaded", ErrorCode::overloaded},
    {"context_length_exceeded", ErrorCode::context_overflow},
    {"invalid_api_key", ErrorCode::authentication},
    {"account_deactivated", ErrorCode::authentication},
    {"model_not_found", ErrorCode::not_found},
    {"DeploymentNotFound", ErrorCode::not_found},
    {"content_filter", ErrorCode::content_filtered},
    {"content_policy_violation", ErrorCode::content_filtered},
    // Types.
    {"requests", ErrorCode::rate_limited},
    {"tokens", ErrorCode::rate_limited},
    {"rate_limit_error", ErrorCode::rate_limited},
    {"RESOURCE_EXHAUSTED", ErrorCode::rate_limited},
    {"service_unavailable_error", ErrorCode::overloaded},
    {"overloaded_error", ErrorCode::overloaded},
    {"UNAVAILABLE", ErrorCode::overloaded},
    {"authentication_error", ErrorCode::authentication},
    {"permission_error", ErrorCode::authentication},
    {"not_found_error", ErrorCode::not_found},
    {"server_error", ErrorCode::server_error},
    {"internal_server_error", ErrorCode::server_error},
    {"api_error", ErrorCode::server_error},
}};

std::optional<ErrorCode> meaning_of(std::string_view word) noexcept {
  const auto* found = std::find_if(meanings.begin(), meanings.end(),
                                   [&](const Meaning& known) { return known.word == word; });
  if (found == meanings.end()) return std::nullopt;
  return found->code;
}

ErrorCode meaning_of_status(int status, const ErrorWords& words) {
  switch (status) {
    case 401:
    case 403:
      return ErrorCode::authentication;
    case 402:
      return ErrorCode::quota_exhausted;
    case 404:
    case 410:
      return ErrorCode::not_found;
    case 408:
    case 409:
      return ErrorCode::server_error;
    case 413:
      return ErrorCode::too_large;
    case 429:
      return ErrorCode::rate_limited;
    case 503:
    case 529:
      return ErrorCode::overloaded;
    default:
      break;
  }
  if (status >= 500) return ErrorCode::server_error;
  if (status >= 400) return ErrorCode::invalid_request;
  // Said inside an answer that began well.
  return words.type == "invalid_request_error" ? ErrorCode::invalid_request
                                               : ErrorCode::server_error;
}

/// A text or a number as text; empty for anything else.
std::string scalar(const Json& object, const char* member) {
  const auto found = object.find(member);
  if (found == object.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  return found->is_number_integer() ? found->dump() : std::string();
}

void read_words(ErrorWords& words, const Json& json) {
  if (json.is_string()) {
    words.message = json.get<std::string>();
  } else if (json.is_array()) {
    if (!json.empty()) read_words(words, json.front());
  } else if (json.is_object()) {
    for (const char* member : {"error", "errors", "detail", "fault"}) {
      const auto found = json.find(member);
      if (found != json.end() && words.message.empty()) read_words(words, *found);
    }
    for (const char* member : {"message", "msg", "faultstring"}) {
      if (words.message.empty()) words.message = scalar(json, member);
    }
    if (words.code.empty()) words.code = scalar(json, "code");
    if (words.type.empty()) words.type = scalar(json, "type");
    if (words.type.empty()) words.type = scalar(json, "status");
  }
}

}  // namespace

ErrorWords error_words(int status, std::string_view body) {
  ErrorWords words;
  const auto json = parse_json(body);
  if (json) read_words(words, *json);
  if (!json || words.message.empty()) words.message = excerpt(body);
  if (words.message.empty()) words.message = fmt::format("HTTP {} without a text", status);
  words.message = excerpt(words.message, max_message_bytes);
  if (words.code == std::to_string(status)) words.code.clear();
  return words;
}

ErrorCode classify_openai_error(int status, const ErrorWords& words) {
  if (says_request_too_large(words.message)) return ErrorCode::too_large;
  for (const std::string& word : {words.code, words.type}) {
    if (const auto meaning = meaning_of(word)) return *meaning;
  }
  if (status == 400 && words.message.find("maximum context length") != std::string::npos) {
    return ErrorCode::context_overflow;  // Servers that use OpenAI's words but not its codes.
  }
  return meaning_of_status(status, words);
}

Error read_openai_error(int status, std::string_view body, QuotaSignal& signal) {
  ErrorWords words = error_words(status, body);
  add_error_text(signal, words.message);
  if (!signal.retry_after) signal.retry_after = wait_in_text(body);
  return {.code = classify_openai_error(status, words),
          .message = std::move(words.message),
          .retry_after = signal.retry_after,
          .http_status = status,
          .provider_code = words.code.empty() ? std::move(words.type) : std::move(words.code)};
}

std::string excerpt(std::string_view text, std::size_t max_bytes) {
  const std::size_t whole = text.size();
  std::string out = valid_utf8(text.substr(0, std::min(whole, max_bytes)));
  if (whole > max_bytes) {
    // A character that the cut went through.
    while (out.ends_with("\xEF\xBF\xBD")) out.resize(out.size() - 3);
    out += fmt::format("… ({} bytes)", whole);
  }
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  const std::size_t first = out.find_first_not_of(' ');
  if (first == std::string::npos) return {};
  return out.substr(first, out.find_last_not_of(' ') - first + 1);
}

}  // namespace moderato
