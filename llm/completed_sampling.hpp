#pragma once

// Private header of the library: not installed.

#include <moderato/llm/request.hpp>

namespace moderato {

/// A call's settings, and the model's where the call has none.
[[nodiscard]] Sampling completed(Sampling sampling, const Sampling& defaults);

}  // namespace moderato
