#pragma once

// Private header of the library: not installed.

#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>

namespace moderato {

/// What a planner's model says about the state of its task.
struct PlannerLedger {
  bool is_request_satisfied = false;
  bool is_progress_being_made = false;
  bool is_in_loop = false;
  std::string instruction{};
  std::string next_speaker{};
};

/// Reads a model's answer: a JSON object, perhaps with words or a code fence around it. Members are
/// values, or objects with a member `answer`. An error's message is meant for the model to read.
[[nodiscard]] Result<PlannerLedger> read_ledger(std::string_view answer,
                                                const std::vector<std::string>& agents);

/// The response_format that asks for a ledger.
[[nodiscard]] Json ledger_format(const std::vector<std::string>& agents);

}  // namespace moderato
