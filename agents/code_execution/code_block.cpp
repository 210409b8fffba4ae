#include <moderato/agents/code_execution/code_block.hpp>

#include <moderato/agents/code_execution/python_syntax.hpp>

namespace moderato {
namespace {

constexpr std::string_view fence = "```";

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

std::size_t skip_blanks(std::string_view text, std::size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
  return at;
}

// The length of a line end at `at`; 0 if there is none.
std::size_t line_end(std::string_view text, std::size_t at) {
  if (text.substr(at).starts_with("\r\n")) return 2;
  return text.substr(at).starts_with('\n') ? 1 : 0;
}

struct Opening {
  std::string_view language;
  std::size_t code;  // where the code begins; npos: this is no opening fence
};

Opening read_opening(std::string_view text, std::size_t at) {
  at = skip_blanks(text, at + fence.size());
  const std::size_t begin = at;
  while (at < text.size() && is_word(text[at])) ++at;
  const std::string_view language = text.substr(begin, at - begin);
  at = skip_blanks(text, at);
  const std::size_t end = line_end(text, at);
  return {language, end == 0 ? std::string_view::npos : at + end};
}

struct Closing {
  std::size_t code_end;  // npos: there is none
  std::size_t after;
};

// The first line end that blanks and a fence follow.
Closing find_closing(std::string_view text, std::size_t from) {
  for (std::size_t at = text.find('\n', from); at != std::string_view::npos;
       at = text.find('\n', at + 1)) {
    const std::size_t closing = skip_blanks(text, at + 1);
    if (!text.substr(closing).starts_with(fence)) continue;
    const bool crlf = at > from && text[at - 1] == '\r';
    return {crlf ? at - 1 : at, closing + fence.size()};
  }
  return {std::string_view::npos, 0};
}

}  // namespace

// ```[ \t]*(\w+)?[ \t]*\r?\n(.*?)\r?\n[ \t]*```, read by hand: one pass, and no recursion on a
// model's text.
std::vector<CodeBlock> fenced_blocks(std::string_view text) {
  std::vector<CodeBlock> blocks;
  for (std::size_t at = text.find(fence); at != std::string_view::npos;) {
    const Opening opening = read_opening(text, at);
    if (opening.code == std::string_view::npos) {
      at = text.find(fence, at + 1);
      continue;
    }
    const Closing closing = find_closing(text, opening.code);
    if (closing.code_end == std::string_view::npos) break;
    blocks.push_back(
        {.language = std::string(opening.language),
         .code = std::string(text.substr(opening.code, closing.code_end - opening.code))});
    at = text.find(fence, closing.after);
  }
  return blocks;
}

std::vector<CodeBlock> extract_code_blocks(std::string_view text) {
  std::vector<CodeBlock> blocks = fenced_blocks(text);
  for (CodeBlock& block : blocks) {
    if (!block.language.empty()) continue;
    block.language = infer_language(block.code);
    if (block.language == "unknown") block.language.clear();
  }
  return blocks;
}

std::string infer_language(std::string_view code) {
  if (code.starts_with("python ") || code.starts_with("pip") || code.starts_with("python3 ")) {
    return "sh";
  }
  return reads_as_python(code) ? "python" : "unknown";
}

}  // namespace moderato
