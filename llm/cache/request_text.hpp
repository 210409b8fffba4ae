#pragma once

// Private header of the library: not installed.

#include <string>
#include <string_view>

#include <moderato/llm/request.hpp>

namespace moderato {

/// The request as one text: equal texts get equal answers. `sampling` is the completed one.
[[nodiscard]] std::string request_text(std::string_view model, const ModelRequest& request,
                                       const Sampling& sampling);

}  // namespace moderato
