#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moderato {

/// The words of a text, ASCII letters in lower case, at most `most`. Whatever is no letter or digit
/// separates words; emoji and typographic signs do, too.
[[nodiscard]] std::vector<std::string> words_of(std::string_view text, std::ptrdiff_t most);

/// Words that thank, greet and take leave, and the small words around them.
class CourteousWords {
 public:
  /// English, and `more` (borrowed; lower case).
  explicit CourteousWords(std::span<const std::string> more) : more_(more) {}

  /// Any of them says thanks or goodbye.
  [[nodiscard]] bool says_any_of(std::span<const std::string> words) const;
  /// The word means nothing beyond courtesy.
  [[nodiscard]] bool is_filler(std::string_view word) const;

 private:
  [[nodiscard]] bool is_courteous(std::string_view word) const;
  std::span<const std::string> more_;
};

}  // namespace moderato
