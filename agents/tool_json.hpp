#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <moderato/core/json.hpp>

namespace moderato {

/// AutoGen's repair of tool arguments: line breaks between tokens are removed, line breaks and tabs
/// inside strings are escaped. A quote opens or closes a string unless the character before it is a
/// backslash (so a string that ends with an escaped backslash is misread: use this only on text
/// that does not parse as it stands).
[[nodiscard]] std::string repair_json(std::string_view text);

/// JSON text as Python's json.dumps(value, ensure_ascii=False) writes it: ", " and ": " between
/// tokens, floats in repr's form ("3.0", "1e+16", "NaN"). Invalid UTF-8 becomes U+FFFD.
[[nodiscard]] std::string to_spaced_json(const Json& value);

/// A tool's result as the text that a model gets: a string as it is, the rest as to_spaced_json.
[[nodiscard]] std::string result_text(const Json& value);

}  // namespace moderato
