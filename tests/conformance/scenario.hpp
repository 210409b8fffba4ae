#pragma once

#include <string>

#include "comparison.hpp"

namespace moderato::conformance {

struct ScenarioRun {
  Value observed;  ///< What it did, in the shape of expected_observation().
  /// Quirks that did not happen because we fixed them, seen while it ran: a vector that ends with
  /// an error has no tag for one-sided turns.
  Value fixed = Value::array();
};

/// Runs a scenario in virtual time.
[[nodiscard]] ScenarioRun run_scenario(const Value& scenario);

}  // namespace moderato::conformance
