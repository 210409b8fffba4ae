#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moderato {

/// A piece of code as a message holds it.
struct CodeBlock {
  std::string language{};  ///< As written, or as found; empty: unknown.
  std::string code{};
  bool operator==(const CodeBlock&) const = default;
};

/// The fenced blocks of a text, by AutoGen's rules: three backticks, an optional language of
/// letters, digits and underscores, a line end; the code; a line end, blanks, three backticks. So
/// an empty block needs a blank line, "c++" is no language (no block), and a fence inside code ends
/// the block. The language is "" where none is written.
[[nodiscard]] std::vector<CodeBlock> fenced_blocks(std::string_view text);

/// fenced_blocks, with the language found by infer_language where none is written (empty if it is
/// not known).
[[nodiscard]] std::vector<CodeBlock> extract_code_blocks(std::string_view text);

/// "sh" for what begins with `pip`, `python ` or `python3 `; "python" for what reads as Python;
/// else "unknown". AutoGen asks a Python compiler; here the tokens are looked at (strings and
/// brackets that end, no two operands side by side, no operator at the end of a line), which tells
/// code from shell lines and prose, but does not find every mistake.
[[nodiscard]] std::string infer_language(std::string_view code);

}  // namespace moderato
