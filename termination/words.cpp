#include <moderato/termination/words.hpp>

#include <algorithm>
#include <array>

namespace moderato {
namespace {

using namespace std::string_view_literals;

// Sorted, for binary search.
constexpr std::array courteous{
    "appreciate"sv, "appreciated"sv, "bye"sv,  "care"sv,    "cheers"sv,   "evening"sv,
    "farewell"sv,   "goodbye"sv,     "luck"sv, "night"sv,   "pleasure"sv, "regards"sv,
    "thank"sv,      "thanks"sv,      "thx"sv,  "weekend"sv, "welcome"sv,  "wishes"sv,
};
constexpr std::array fillers{
    "a"sv,       "again"sv,   "ahead"sv,      "all"sv,       "always"sv,  "am"sv,
    "an"sv,      "and"sv,     "any"sv,        "anything"sv,  "anytime"sv, "are"sv,
    "as"sv,      "assist"sv,  "assistance"sv, "at"sv,        "be"sv,      "best"sv,
    "can"sv,     "d"sv,       "day"sv,        "did"sv,       "don"sv,     "else"sv,
    "enjoy"sv,   "ever"sv,    "feel"sv,       "for"sv,       "free"sv,    "further"sv,
    "future"sv,  "glad"sv,    "good"sv,       "great"sv,     "happy"sv,   "have"sv,
    "help"sv,    "helpful"sv, "here"sv,       "hesitate"sv,  "i"sv,       "if"sv,
    "in"sv,      "is"sv,      "it"sv,         "just"sv,      "kind"sv,    "later"sv,
    "let"sv,     "ll"sv,      "lovely"sv,     "m"sv,         "me"sv,      "more"sv,
    "most"sv,    "much"sv,    "my"sv,         "need"sv,      "nice"sv,    "no"sv,
    "not"sv,     "of"sv,      "ok"sv,         "okay"sv,      "on"sv,      "or"sv,
    "other"sv,   "out"sv,     "problem"sv,    "questions"sv, "re"sv,      "reach"sv,
    "rest"sv,    "s"sv,       "same"sv,       "see"sv,       "so"sv,      "soon"sv,
    "support"sv, "t"sv,       "take"sv,       "talk"sv,      "the"sv,     "then"sv,
    "there"sv,   "to"sv,      "today"sv,      "too"sv,       "until"sv,   "ve"sv,
    "very"sv,    "was"sv,     "we"sv,         "well"sv,      "were"sv,    "will"sv,
    "wish"sv,    "with"sv,    "wonderful"sv,  "would"sv,     "you"sv,     "your"sv,
    "yours"sv};
static_assert(std::ranges::is_sorted(courteous) && std::ranges::is_sorted(fillers));

// U+2000 to U+2FFF (typographic signs, E2 .. ..) and everything of four bytes (F0 .. .. .., emoji)
// separate words; all else beyond ASCII is taken for letters.
bool is_letter(unsigned char byte) {
  if (byte >= 0x80) return byte != 0xE2 && byte < 0xF0;
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= '0' && byte <= '9');
}

std::size_t bytes_of_sign(unsigned char lead) {
  return lead >= 0xF0 ? 4 : lead == 0xE2 ? 3 : 1;
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

std::vector<std::string> words_of(std::string_view text, std::ptrdiff_t most) {
  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  while (!text.empty() && std::ssize(words) < most) {
    const auto byte = static_cast<unsigned char>(text.front());
    if (is_letter(byte)) {
      word += lower(text.front());
      text.remove_prefix(1);
    } else {
      finish();
      text.remove_prefix(std::min(bytes_of_sign(byte), text.size()));
    }
  }
  if (std::ssize(words) < most) finish();
  return words;
}

bool CourteousWords::is_courteous(std::string_view word) const {
  return std::ranges::binary_search(courteous, word) ||
         std::ranges::find(more_, word) != more_.end();
}

bool CourteousWords::says_any_of(std::span<const std::string> words) const {
  return std::ranges::any_of(words, [&](const std::string& word) { return is_courteous(word); });
}

bool CourteousWords::is_filler(std::string_view word) const {
  return is_courteous(word) || std::ranges::binary_search(fillers, word);
}

}  // namespace moderato
