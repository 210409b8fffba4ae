#include <algorithm>
#include <array>
#include <cctype>

#include "report_page.hpp"

// Code is coloured without knowing its language: what most languages share (strings, comments,
// numbers, common words) is enough to read by, and nothing that is not understood can break the
// page.

namespace moderato {
namespace {

constexpr std::array keywords{
    "False",    "None",     "SELECT",  "True",      "and",    "as",     "async", "auto",
    "await",    "bool",     "break",   "case",      "catch",  "char",   "class", "const",
    "continue", "def",      "default", "do",        "double", "elif",   "else",  "enum",
    "except",   "export",   "false",   "finally",   "float",  "fn",     "for",   "from",
    "func",     "function", "if",      "import",    "in",     "int",    "is",    "lambda",
    "let",      "long",     "match",   "namespace", "new",    "not",    "null",  "nullptr",
    "or",       "pass",     "private", "public",    "raise",  "return", "self",  "static",
    "string",   "struct",   "switch",  "template",  "this",   "throw",  "true",  "try",
    "type",     "using",    "var",     "void",      "while",  "with",   "yield"};

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

/// How many characters at the front of `code` are a comment; 0: none.
std::size_t comment_length(std::string_view code, bool line_begin) {
  if (code.starts_with("/*")) {
    const std::size_t end = code.find("*/", 2);
    return end == std::string_view::npos ? code.size() : end + 2;
  }
  if (code.starts_with("//") || (code.starts_with("#") && line_begin)) {
    return std::min(code.find('\n'), code.size());
  }
  return 0;
}

/// How many are a string that ends on its line; 0: none. (What is longer than a reader's patience
/// is not looked for: a line of nothing but quotes would be read again from each of them.)
std::size_t string_length(std::string_view code) {
  static constexpr std::size_t longest = 2000;
  code = code.substr(0, longest);
  const char quote = code.front();
  if (quote != '"' && quote != '\'') return 0;
  for (std::size_t i = 1; i < code.size() && code[i] != '\n'; ++i) {
    if (code[i] == '\\') {
      ++i;
    } else if (code[i] == quote) {
      return i + 1;
    }
  }
  return 0;
}

}  // namespace

std::string code_html(std::string_view code) {
  std::string out;
  const auto take = [&](std::size_t count, const char* kind) {
    const std::string text = html_text(code.substr(0, count));
    out += *kind == 0 ? text : "<i class=\"" + std::string(kind) + "\">" + text + "</i>";
    code.remove_prefix(count);
  };
  bool line_begin = true;
  while (!code.empty()) {
    if (const std::size_t comment = comment_length(code, line_begin)) {
      take(comment, "comment");
    } else if (const std::size_t quoted = string_length(code)) {
      take(quoted, "string");
    } else if (is_word(code.front())) {
      const auto end = std::find_if_not(code.begin(), code.end(), is_word);
      const std::string_view word = code.substr(0, static_cast<std::size_t>(end - code.begin()));
      const bool number = std::isdigit(static_cast<unsigned char>(word.front())) != 0;
      const bool known = std::find(keywords.begin(), keywords.end(), word) != keywords.end();
      take(word.size(), number ? "number" : (known ? "keyword" : ""));
    } else {
      if (code.front() == '\n') line_begin = true;
      const bool space = std::isspace(static_cast<unsigned char>(code.front())) != 0;
      take(1, "");
      if (space) continue;  // a # after nothing but spaces begins a comment, too
    }
    line_begin = false;
  }
  return out;
}

}  // namespace moderato
