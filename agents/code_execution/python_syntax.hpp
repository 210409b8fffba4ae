#pragma once

// Private header of the library: not installed.

#include <string_view>

namespace moderato {

/// Whether a text may be Python: no certainty, see infer_language.
[[nodiscard]] bool reads_as_python(std::string_view code);

}  // namespace moderato
