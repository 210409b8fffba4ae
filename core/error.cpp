#include <moderato/core/error.hpp>

#include <fmt/format.h>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<ErrorCode, 27> names{
    {"invalid_request",  "configuration",     "authentication",    "not_found",
     "context_overflow", "too_large",         "rate_limited",      "quota_exhausted",
     "overloaded",       "server_error",      "connection",        "tls",
     "timeout",          "protocol",          "deadline_exceeded", "queue_full",
     "budget_exhausted", "cancelled",         "content_filtered",  "replay_mismatch",
     "tool_failed",      "human_unavailable", "awaiting_human",    "invalid_message",
     "storage",          "interrupted",       "internal"}};

}  // namespace

std::string_view to_string(ErrorCode code) noexcept {
  return names.name_of(code);
}

std::optional<ErrorCode> error_code_from_string(std::string_view name) noexcept {
  return names.value_of(name);
}

std::string to_string(const Error& error) {
  std::string text(to_string(error.code));
  if (error.http_status != 0 && !error.provider_code.empty()) {
    text += fmt::format(" (HTTP {}, {})", error.http_status, error.provider_code);
  } else if (error.http_status != 0) {
    text += fmt::format(" (HTTP {})", error.http_status);
  } else if (!error.provider_code.empty()) {
    text += fmt::format(" ({})", error.provider_code);
  }
  if (!error.message.empty()) text += ": " + error.message;
  if (error.retry_after) {
    text += fmt::format("; retry after {:.3g} s",
                        std::chrono::duration<double>(*error.retry_after).count());
  }
  return text;
}

}  // namespace moderato
