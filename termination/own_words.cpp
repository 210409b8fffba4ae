#include <moderato/termination/own_words.hpp>

#include <algorithm>

namespace moderato {
namespace {

// The run of backticks or tildes that a line begins with, if it is long enough to be a fence.
// Fences in lists are indented, so any indentation will do.
struct Fence {
  char mark = '\0';
  std::size_t length = 0;
  std::string_view rest{};
};

Fence fence_of(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  if (line.empty() || (line.front() != '`' && line.front() != '~')) return {};
  const char mark = line.front();
  const std::size_t length = std::min(line.find_first_not_of(mark), line.size());
  if (length < 3) return {};
  return {.mark = mark, .length = length, .rest = line.substr(length)};
}

// ```code``` on one line is inline code and opens no block.
bool opens(const Fence& fence) {
  return fence.length > 0 && !(fence.mark == '`' && fence.rest.find('`') != std::string_view::npos);
}

bool closes(const Fence& fence, const Fence& open) {
  return fence.mark == open.mark && fence.length >= open.length &&
         fence.rest.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

bool is_quote(std::string_view line) {
  const std::size_t begin = line.find_first_not_of(' ');
  return begin != std::string_view::npos && line[begin] == '>';
}

}  // namespace

bool may_quote(std::string_view text) noexcept {
  return text.find('>') != std::string_view::npos || text.find("```") != std::string_view::npos ||
         text.find("~~~") != std::string_view::npos;
}

std::string without_quotes(std::string_view text) {
  std::string kept;
  Fence open{};
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end == std::string_view::npos ? end : end + 1);
    text.remove_prefix(line.size());
    const Fence fence = fence_of(line);
    if (open.length > 0) {
      if (closes(fence, open)) open = {};
    } else if (opens(fence)) {
      open = fence;
    } else if (!is_quote(line)) {
      kept += line;
    }
  }
  return kept;
}

}  // namespace moderato
