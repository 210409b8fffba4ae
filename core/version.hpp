#pragma once

#include <string_view>

// The version of the library, in semantic versioning. The build reads it from here.
#define MODERATO_VERSION_MAJOR 0
#define MODERATO_VERSION_MINOR 1
#define MODERATO_VERSION_PATCH 0
#define MODERATO_VERSION "0.1.0"

namespace moderato {

/// "0.1.0".
inline constexpr std::string_view version = MODERATO_VERSION;

}  // namespace moderato
