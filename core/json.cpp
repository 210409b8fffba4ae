#include <moderato/core/json.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

namespace moderato {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

/// Length of the well-formed UTF-8 sequence at the start of `text` (Unicode 15, table 3-7), or 0.
std::size_t utf8_sequence(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (first == 0xE0 && byte(1) < 0xA0) return 0;  // overlong
    if (first == 0xED && byte(1) > 0x9F) return 0;  // surrogate
    return tail(1) && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (first == 0xF0 && byte(1) < 0x90) return 0;  // overlong
    if (first == 0xF4 && byte(1) > 0x8F) return 0;  // beyond U+10FFFF
    return tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

// Most text is plain ASCII, so it is looked at eight bytes at a time. In `bytes - ones * n` the
// high bit of a byte that was below 0x80 tells whether it was less than n; borrows only spread from
// such a byte, so that "is there any" is exact.
constexpr std::uint64_t ones = 0x0101010101010101U;
constexpr std::uint64_t high_bits = 0x80U * ones;

std::uint64_t eight_bytes(const char* at) noexcept {
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, at, sizeof bytes);
  return bytes;
}

/// True if all eight are printable ASCII other than quote and backslash.
bool all_plain(std::uint64_t bytes) noexcept {
  const std::uint64_t control = bytes - ones * 0x20U;
  const std::uint64_t quote = (bytes ^ (ones * '"')) - ones;
  const std::uint64_t backslash = (bytes ^ (ones * '\\')) - ones;
  return ((bytes | control | quote | backslash) & high_bits) == 0;
}

bool is_plain(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/// Number of leading bytes that stand in a JSON string as they are.
std::size_t clean_run(std::string_view text) noexcept {
  std::size_t at = 0;
  for (;;) {
    while (at + 8 <= text.size() && all_plain(eight_bytes(text.data() + at))) at += 8;
    while (at < text.size() && is_plain(text[at])) ++at;
    if (at == text.size() || static_cast<unsigned char>(text[at]) < 0x80) return at;
    const std::size_t length = utf8_sequence(text.substr(at));
    if (length == 0) return at;
    at += length;
  }
}

/// "JSON, line 3, column 7: …" for the byte `at` of `text`.
tl::unexpected<Error> parse_failure(std::string_view text, std::size_t at, std::string_view what,
                                    std::string_view reason) {
  const auto before = text.substr(0, at);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return fail(ErrorCode::protocol, fmt::format("{}, line {}, column {}: {}", what, line,
                                               at - line_start + 1, valid_utf8(reason)));
}

/// Where the nesting exceeds max_json_depth, in a text that is JSON; elsewhere the parser
/// complains.
std::optional<std::size_t> too_deep(std::string_view text) noexcept {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > max_json_depth) return at;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return std::nullopt;
}

void append_escaped(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    default:
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
      return;
  }
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view what) {
  if (const auto at = too_deep(text)) {
    return parse_failure(text, *at, what,
                         fmt::format("nested deeper than {} levels", max_json_depth));
  }
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    const std::size_t at = std::min(error.byte > 0 ? error.byte - 1 : 0, text.size());
    // nlohmann's text: "[json.exception.parse_error.101] parse error at line 1, column 2: syntax
    // error while parsing …"; the part after the position says what is wrong.
    std::string_view reason = error.what();
    if (const auto colon = reason.find(": "); colon != std::string_view::npos) {
      reason.remove_prefix(colon + 2);
    }
    return parse_failure(text, at, what, reason);
  } catch (const Json::exception& error) {
    return fail(ErrorCode::protocol, fmt::format("{}: {}", what, error.what()));
  }
}

std::int64_t whole_number(const Json& value) {
  constexpr std::int64_t most = std::int64_t{1} << 60;
  const bool fits = value.is_number_unsigned()
                        ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most)
                        : value.is_number_integer() && value.get<std::int64_t>() >= -most;
  if (!fits) throw Json::type_error::create(302, "it is no whole number, or too large", &value);
  return value.get<std::int64_t>();
}

std::int64_t whole_number(const Json& object, const char* member, std::int64_t otherwise) {
  const auto found = object.find(member);
  return found == object.end() ? otherwise : whole_number(*found);
}

std::string dump_json(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void append_json_string(std::string& out, std::string_view text) {
  out.reserve(out.size() + text.size() + 2);
  out += '"';
  while (!text.empty()) {
    const std::size_t run = clean_run(text);
    out.append(text.data(), run);
    text.remove_prefix(run);
    if (text.empty()) break;
    if (static_cast<unsigned char>(text.front()) < 0x80) {
      append_escaped(out, text.front());
    } else {
      out += replacement;
    }
    text.remove_prefix(1);
  }
  out += '"';
}

bool is_valid_utf8(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    if (at + 8 <= text.size() && (eight_bytes(text.data() + at) & high_bits) == 0) {
      at += 8;
      continue;
    }
    const std::size_t length = utf8_sequence(text.substr(at));
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string valid_utf8(std::string_view text) {
  if (is_valid_utf8(text)) return std::string(text);
  std::string out;
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    if (length == 0) {
      out += replacement;
    } else {
      out.append(text.data(), length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

}  // namespace moderato
