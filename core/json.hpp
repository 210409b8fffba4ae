#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include <moderato/core/result.hpp>

namespace moderato {

/// JSON with members in the order in which they were written.
using Json = nlohmann::ordered_json;

/// Deepest nesting of arrays and objects that parse_json accepts. Copying and writing a Json value
/// recurse, and the text may come from a model: without a bound, 100,000 brackets overflow a stack.
inline constexpr std::size_t max_json_depth = 100;

/// Parses one JSON text. The error says what is wrong and at which line and column.
/// `what` names the text in the error ("tool arguments", "workflow file x.json").
[[nodiscard]] Result<Json> parse_json(std::string_view text, std::string_view what = "JSON");

/// A whole number of a text that somebody else wrote. Throws Json::exception where it is none, or
/// is beyond ±2⁶⁰: further than any count or time, and near enough that a few can be added.
[[nodiscard]] std::int64_t whole_number(const Json& value);
/// The same of an object's member; `otherwise` where there is no such member.
[[nodiscard]] std::int64_t whole_number(const Json& object, const char* member,
                                        std::int64_t otherwise);

/// Compact text. Never throws: bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string dump_json(const Json& value);

/// Appends `text` as a JSON string literal, quotes included; invalid UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);

/// `text` with each invalid UTF-8 sequence replaced by U+FFFD; valid text is returned unchanged.
[[nodiscard]] std::string valid_utf8(std::string_view text);
[[nodiscard]] bool is_valid_utf8(std::string_view text) noexcept;

}  // namespace moderato
