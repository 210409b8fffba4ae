#pragma once

// Private header of the library: not installed.

#include <string>
#include <string_view>

namespace moderato {

/// The lines of a Markdown text that are its author's own: without fenced code blocks (``` or ~~~,
/// to the end of the text if one is never closed) and without quotes (lines that begin with ">").
/// Inline code stays.
[[nodiscard]] std::string without_quotes(std::string_view text);

/// False if without_quotes would return `text` as it is, as can be told at a glance.
[[nodiscard]] bool may_quote(std::string_view text) noexcept;

}  // namespace moderato
