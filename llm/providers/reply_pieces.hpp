#pragma once

// Private header of the library: not installed.

#include <string_view>

namespace moderato {

/// Gives a text piece by piece, a word with the blanks that follow it at a time.
template <class F>
void for_each_piece(std::string_view text, F&& give) {
  while (!text.empty()) {
    const std::size_t word_end = text.find_first_of(" \n");
    std::size_t end =
        word_end == std::string_view::npos ? text.size() : text.find_first_not_of(" \n", word_end);
    if (end == std::string_view::npos) end = text.size();
    give(text.substr(0, end));
    text.remove_prefix(end);
  }
}

}  // namespace moderato
