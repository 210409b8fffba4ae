#pragma once

#include <optional>
#include <string>

#include "comparison.hpp"

namespace moderato::conformance {

/// The outcome of an entry of functions.json.
struct FunctionOutcome {
  bool supported = true;  ///< False: we have no such function yet.
  std::string tag{};      ///< The quirk that the entry shows; empty: none.
  std::optional<std::string> difference{};
};

[[nodiscard]] FunctionOutcome run_function(const Value& entry);

}  // namespace moderato::conformance
