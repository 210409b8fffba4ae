#include <moderato/llm/providers/simulated_fault.hpp>

#include <fmt/format.h>

#include <charconv>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<FaultKind, 14> names{
    {"none", "reset", "stall", "truncated", "malformed", "500", "503", "slow-down",
     "429-without-hint", "insufficient-quota", "credit-balance", "organization-spend-limit",
     "project-spend-limit", "organization-usage-limit"}};

constexpr FaultError billing(std::string_view code) {
  return {429, "billing_error", code, "A spending limit is reached. Check your billing details."};
}

/// Reads the whole text as a number.
template <class Number>
bool read_number(std::string_view text, Number& number) {
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  return error == std::errc() && end == last;
}

}  // namespace

std::string_view to_string(FaultKind kind) noexcept {
  return names.name_of(kind);
}
std::optional<FaultKind> fault_kind_from_string(std::string_view name) noexcept {
  return names.value_of(name);
}

std::string fault_kind_names() {
  return fmt::format("{}", fmt::join(names.names.begin() + 1, names.names.end(), ", "));
}

Result<SimulatedFault> simulated_fault_from_string(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return fail(ErrorCode::configuration, fmt::format("fault \"{}\": {}", text, why));
  };
  const std::size_t colon = text.find(':');
  const auto kind = fault_kind_from_string(text.substr(0, colon));
  if (!kind || *kind == FaultKind::none) {
    return wrong("unknown kind; known are " + fault_kind_names());
  }
  SimulatedFault fault{.kind = *kind};
  std::string_view how = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  constexpr std::string_view every = "every=";
  if (how.substr(0, every.size()) == every) {
    how.remove_prefix(every.size());
    if (!read_number(how, fault.every) || fault.every < 1) {
      return wrong("after every= comes a whole number from 1");
    }
  } else if (!read_number(how, fault.probability) || !(fault.probability >= 0.0) ||
             fault.probability > 1.0) {
    return wrong("after the kind comes :PROBABILITY, from 0 to 1, or :every=N");
  }
  return fault;
}

std::optional<FaultError> error_of(FaultKind kind) noexcept {
  switch (kind) {
    case FaultKind::none:
    case FaultKind::reset:
    case FaultKind::stall:
    case FaultKind::truncated:
    case FaultKind::malformed_stream:
      return std::nullopt;
    case FaultKind::server_error:
      return FaultError{500, "server_error", "",
                        "The server had an error while processing your request."};
    case FaultKind::overloaded:
      return FaultError{503, "service_unavailable_error", "server_is_overloaded",
                        "The engine is currently overloaded, please try again later."};
    case FaultKind::slow_down:
      return FaultError{429, "rate_limit_error", "slow_down",
                        "Your request rate rose too quickly. Please slow down."};
    case FaultKind::refuse_without_hint:
      return FaultError{429, "requests", "rate_limit_exceeded", "Rate limit reached."};
    case FaultKind::insufficient_quota:
      return FaultError{
          429, "insufficient_quota", "insufficient_quota",
          "You exceeded your current quota, please check your plan and billing details."};
    case FaultKind::credit_balance:
      return billing("credit_balance_exhausted");
    case FaultKind::organization_spend_limit:
      return billing("organization_spend_limit_exceeded");
    case FaultKind::project_spend_limit:
      return billing("project_spend_limit_exceeded");
    case FaultKind::organization_usage_limit:
      return billing("organization_usage_limit_exceeded");
  }
  return std::nullopt;
}

}  // namespace moderato
