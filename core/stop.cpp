#include <moderato/core/stop.hpp>

#include <utility>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<StopReason, 23> names{{"none",
                                           "termination_message",
                                           "condition",
                                           "max_consecutive_auto_reply",
                                           "max_turns",
                                           "max_messages",
                                           "max_calls",
                                           "token_budget",
                                           "deadline",
                                           "repetition",
                                           "human_exit",
                                           "human_skip_on_termination",
                                           "no_reply",
                                           "no_initial_message",
                                           "cancelled",
                                           "model_error",
                                           "tool_error",
                                           "awaiting_human",
                                           "human_error",
                                           "callback_error",
                                           "invalid_message",
                                           "replay_mismatch",
                                           "storage_error"}};

}  // namespace

std::string_view to_string(StopReason reason) noexcept {
  return names.name_of(reason);
}
std::optional<StopReason> stop_reason_from_string(std::string_view name) noexcept {
  return names.value_of(name);
}

std::string to_string(const Stop& stop) {
  std::string text(to_string(stop.reason));
  if (!stop.rule.empty()) text += ": " + stop.rule;
  if (!stop.agent.empty()) text += (stop.rule.empty() ? ": by " : " by ") + stop.agent;
  std::string detail = stop.detail;
  std::string error = stop.error ? to_string(*stop.error) : std::string();
  if (stop.error && detail.starts_with(stop.error->message)) {  // then it is said once
    detail.replace(0, stop.error->message.size(), std::exchange(error, {}));
  }
  if (!detail.empty()) text += " (" + detail + ")";
  if (!error.empty()) text += "; " + error;
  return text;
}

}  // namespace moderato
