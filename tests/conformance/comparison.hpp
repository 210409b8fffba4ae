#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moderato::conformance {

/// JSON without an order of members.
using Value = nlohmann::json;

/// What a vector expects, in the shape of an observation: messages in place of their indexes, and
/// without the fields that no implementation but Python's can give.
[[nodiscard]] Value expected_observation(const Value& expect);

/// Leaves out `context` of stored messages: AutoGen removes it when a model is asked, we keep it.
/// True if there was any.
bool drop_ignored_fields(Value& observation);

/// For recordings of AutoGen's async variant, in which each termination check runs twice: leaves
/// out the counters, and the second of two equal checks.
bool as_if_in_step(Value& observation);

/// Leaves out what lies at a path, such as "/chats/*/summary".
void leave_out(Value& observation, std::string_view path);

/// Where two values differ first, and how; nullopt if they are equal. A text of `loose` (one whose
/// wording comes from Python) matches every text with the same frame.
[[nodiscard]] std::optional<std::string> first_difference(const Value& expected,
                                                          const Value& observed,
                                                          const std::vector<std::string>& loose,
                                                          const std::string& path = "");

}  // namespace moderato::conformance
