// Whom does a text name? AutoGen counts, for each name, the matches of a regular expression that
// wants the name between two characters that are no word characters. So "User\_proxy" (Markdown's
// way to write User_proxy) mentions both User and User_proxy, "agent-1" mentions agent as well, and
// a model that answered well is asked again. Here the text is read once from left to right, and
// where several names begin at one place the longest that ends at the edge of a word counts:
//
//   names User, User_proxy; text "User\_proxy"  ->  User_proxy (AutoGen: both)
//   names Ann, Ann B;       text "Ann B"        ->  Ann B      (AutoGen: both)
//   names alice, bob;       text "malice"       ->  nobody: "m" is a word character
//
// A name is also known with its underscores as blanks or escaped. Letters and digits of every
// script are word characters; so is the underscore.
#include <algorithm>
#include <array>

#include <moderato/agents/group/group_state.hpp>

namespace moderato {
namespace {

// The character that begins at `at`; a broken byte stands for itself.
char32_t character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(at);
  std::size_t more = 0;
  char32_t value = first;
  if (first >= 0xF0) {
    more = 3;
    value = first & 0x07U;
  } else if (first >= 0xE0) {
    more = 2;
    value = first & 0x0FU;
  } else if (first >= 0xC0) {
    more = 1;
    value = first & 0x1FU;
  }
  for (std::size_t i = 1; i <= more && at + i < text.size(); ++i) {
    value = (value << 6U) | (byte(at + i) & 0x3FU);
  }
  return value;
}

std::size_t begin_of_character_before(std::string_view text, std::size_t at) {
  std::size_t begin = at - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0U) == 0x80U) --begin;
  return begin;
}

struct Range {
  char32_t first;
  char32_t last;
};

// Beyond ASCII, what is no letter or digit: the blocks of signs that models mix with names. All the
// rest of Unicode is taken for letters.
constexpr std::array signs{
    Range{0x80, 0xA9},     Range{0xAB, 0xB1},     Range{0xB4, 0xB4},       Range{0xB6, 0xB8},
    Range{0xBB, 0xBB},     Range{0xBF, 0xBF},     Range{0xD7, 0xD7},       Range{0xF7, 0xF7},
    Range{0x2000, 0x206F}, Range{0x207A, 0x207E}, Range{0x208A, 0x208E},   Range{0x20A0, 0x20FF},
    Range{0x2190, 0x245F}, Range{0x2500, 0x2775}, Range{0x2794, 0x2BFF},   Range{0x2E00, 0x2E2E},
    Range{0x2E30, 0x2FFF}, Range{0x3000, 0x3004}, Range{0x3008, 0x3020},   Range{0x3030, 0x3030},
    Range{0xFE00, 0xFE6F}, Range{0xFF01, 0xFF0F}, Range{0xFF1A, 0xFF20},   Range{0xFF3B, 0xFF40},
    Range{0xFF5B, 0xFF65}, Range{0xFFE0, 0xFFFF}, Range{0x1F000, 0x1F0FF}, Range{0x1F10D, 0x1FAFF}};

bool is_word(char32_t c) {
  if (c < 0x80) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }
  return std::none_of(signs.begin(), signs.end(),
                      [c](const Range& range) { return c >= range.first && c <= range.last; });
}

std::string replaced(const std::string& name, std::string_view underscore) {
  std::string text;
  for (const char byte : name) {
    if (byte == '_') {
      text += underscore;
    } else {
      text += byte;
    }
  }
  return text;
}

struct Form {
  std::string text;
  std::string name;
  bool exact;
};

// The longest first; of two with one text the name that is spelled so.
std::vector<Form> forms_of(const std::vector<std::string>& names) {
  std::vector<Form> forms;
  for (const std::string& name : names) {
    if (name.empty()) continue;
    forms.push_back({name, name, true});
    if (name.find('_') == std::string::npos) continue;
    forms.push_back({replaced(name, " "), name, false});
    forms.push_back({replaced(name, "\\_"), name, false});
  }
  std::stable_sort(forms.begin(), forms.end(), [](const Form& a, const Form& b) {
    if (a.text.size() != b.text.size()) return a.text.size() > b.text.size();
    return a.exact && !b.exact;
  });
  return forms;
}

}  // namespace

std::map<std::string, int> mentioned_agents(const std::vector<std::string>& names,
                                            std::string_view text) {
  const std::vector<Form> forms = forms_of(names);
  std::map<std::string, int> mentions;
  for (std::size_t at = 0; at < text.size();) {
    const bool starts =
        at == 0 || !is_word(character_at(text, begin_of_character_before(text, at)));
    const auto found =
        !starts ? forms.end() : std::find_if(forms.begin(), forms.end(), [&](const Form& form) {
          if (!text.substr(at).starts_with(form.text)) return false;
          const std::size_t end = at + form.text.size();
          return end == text.size() || !is_word(character_at(text, end));
        });
    if (found == forms.end()) {
      ++at;
    } else {
      ++mentions[found->name];
      at += found->text.size();
    }
  }
  return mentions;
}

}  // namespace moderato
