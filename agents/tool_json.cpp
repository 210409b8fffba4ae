#include <moderato/agents/tool_json.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace moderato {
namespace {

// The shortest digits that read back as `value`, laid out as Python's repr does: plain from 1e-4 to
// below 1e16, with an exponent of at least two digits elsewhere.
std::string float_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  const double size = std::abs(value);
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
  std::array<char, 64> buffer{};
  const auto format = plain ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format).ptr;
  std::string text(buffer.data(), end);
  if (plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

void append(std::string& out, const Json& value) {
  if (value.is_object()) {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : value.items()) {
      if (!first) out += ", ";
      first = false;
      append_json_string(out, key);
      out += ": ";
      append(out, member);
    }
    out += '}';
  } else if (value.is_array()) {
    out += '[';
    bool first = true;
    for (const Json& item : value) {
      if (!first) out += ", ";
      first = false;
      append(out, item);
    }
    out += ']';
  } else if (value.is_string()) {
    append_json_string(out, value.get_ref<const std::string&>());
  } else if (value.is_number_float()) {
    out += float_text(value.get<double>());
  } else {
    out += value.dump();
  }
}

}  // namespace

std::string repair_json(std::string_view text) {
  std::string repaired;
  repaired.reserve(text.size());
  bool in_string = false;
  char before = ' ';
  for (const char c : text) {
    if (c == '"' && before != '\\') in_string = !in_string;
    before = c;
    if (c == '\n') {
      if (in_string) repaired += "\\n";
    } else if (c == '\t' && in_string) {
      repaired += "\\t";
    } else {
      repaired += c;
    }
  }
  return repaired;
}

std::string to_spaced_json(const Json& value) {
  std::string text;
  append(text, value);
  return text;
}

std::string result_text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : to_spaced_json(value);
}

}  // namespace moderato
