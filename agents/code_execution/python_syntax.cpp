#include <moderato/agents/code_execution/python_syntax.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

// Is this Python, or a shell line, or prose?
//
// A compiler would know, but a library that starts an interpreter to look at a message is slow and
// is not the same everywhere. What tells the three apart is local: prose and shell lines put words
// side by side ("echo hi", "print 'x'"), which Python does only with its keywords; and what is cut
// off ends within a string, a bracket, or behind an operator. So the text is read as tokens, and
// each token is judged by the one before it.

namespace moderato {
namespace {

enum class Token : std::uint8_t {
  line_end,
  operand,
  binary,  // an operator that needs an operand on both sides
  prefix,  // one that may stand before an operand: + - ~ * **, and keywords such as return
  open,
  close,
  separator,  // , ; . :
  wrong
};

constexpr std::array keywords_before_operand{
    "and",    "as",   "assert", "async",   "await",    "class", "def",    "del",
    "elif",   "else", "except", "finally", "for",      "from",  "global", "if",
    "import", "in",   "is",     "lambda",  "nonlocal", "not",   "or",     "raise",
    "return", "try",  "while",  "with",    "yield",    "match", "case",   "type"};
constexpr std::array alone{"pass", "break",   "continue", "return", "raise", "yield", "else",
                           "try",  "finally", "except",   "lambda", "match", "case",  "type"};

constexpr std::array between_operands{"and", "or", "if",     "else", "in",   "is",
                                      "for", "as", "import", "from", "async"};
constexpr std::array soft{"match", "case", "type"};  // names, too

template <std::size_t N>
bool is_one_of(const std::array<const char*, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool all_fits() {
    for (skip_blanks(); at_ < text_.size(); skip_blanks()) {
      const Token token = next();
      if (token == Token::wrong || !fits(token)) return false;
      before_ = token;
    }
    return brackets_.empty() && fits(Token::line_end);
  }

 private:
  bool fits(Token token) {
    const bool needs_operand =
        before_ == Token::binary || (before_ == Token::prefix && !may_stand_alone_);
    switch (token) {
      case Token::line_end:
      case Token::close:
        return !needs_operand;
      case Token::operand:
        return before_ != Token::operand && before_ != Token::close;
      case Token::binary:
        return before_ == Token::operand || before_ == Token::close ||
               (before_ == Token::prefix && soft_) || (before_ == Token::separator && assigns_);
      case Token::separator:
        return !needs_operand && (at_colon_ || before_ != Token::line_end) &&
               !(at_colon_ && before_ == Token::open && brackets_.back() == '(');
      case Token::prefix:
        return (before_ != Token::operand && before_ != Token::close) || may_follow_operand_;
      default:
        return true;
    }
  }

  // Blanks, comments, and line ends within brackets.
  void skip_blanks() {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size()) - 1;
      } else if (c == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') {
        ++at_;
      } else if (c != ' ' && c != '\t' && c != '\r' && c != '\f' &&
                 (c != '\n' || brackets_.empty())) {
        return;
      }
    }
  }

  Token next() {
    at_colon_ = false;
    const char c = text_[at_];
    if (c == '\n') return ++at_, Token::line_end;
    if (c == '"' || c == '\'') return string();
    if (is_word(c)) return word();
    return punctuation(c);
  }

  Token string() {
    const char quote = text_[at_];
    const std::string triple(3, quote);
    const bool is_triple = text_.substr(at_).starts_with(triple);
    at_ += is_triple ? 3 : 1;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (is_triple ? text_.substr(at_).starts_with(triple) : text_[at_] == quote) {
        at_ += is_triple ? 3 : 1;
        if (in_strings_) before_ = Token::separator;  // 'a' 'b' is one string
        in_strings_ = true;
        return Token::operand;
      } else if (text_[at_] == '\n' && !is_triple) {
        return Token::wrong;
      }
    }
    return Token::wrong;
  }

  Token word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (is_word(text_[at_]) || is_point_of_number(begin))) ++at_;
    const std::string_view word = text_.substr(begin, at_ - begin);
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'') && word.size() <= 2) {
      return string();  // r"…", f"…", rb"…"
    }
    if (!is_one_of(keywords_before_operand, word)) {
      in_strings_ = false;
      return Token::operand;
    }
    may_stand_alone_ = is_one_of(alone, word);
    soft_ = is_one_of(soft, word);
    may_follow_operand_ = is_one_of(between_operands, word) ||
                          (word == "not" && text_.substr(at_).starts_with(" in "));
    return Token::prefix;
  }
  bool is_point_of_number(std::size_t begin) const {
    return text_[at_] == '.' && text_[begin] >= '0' && text_[begin] <= '9';
  }

  Token punctuation(char c) {
    ++at_;
    in_strings_ = false;
    if (c == '(' || c == '[' || c == '{') {
      brackets_ += c;
      return Token::open;
    }
    if (c == ')' || c == ']' || c == '}') return close(c);
    if (c == ':' && at_ < text_.size() && text_[at_] == '=') return ++at_, Token::binary;
    if (c == ',' || c == ';' || c == ':') {
      at_colon_ = c == ':';
      return Token::separator;
    }
    if (c == '.') return dots();
    if (c == '@' && before_ == Token::line_end) return Token::prefix;
    if (std::string_view("$?!`").find(c) != std::string_view::npos &&
        !(c == '!' && at_ < text_.size() && text_[at_] == '=')) {
      return Token::wrong;
    }
    while (at_ < text_.size() &&
           std::string_view("+-*/%<>=|&^@").find(text_[at_]) != std::string_view::npos &&
           is_one_operator(c)) {
      ++at_;
    }
    may_stand_alone_ = false;
    assigns_ = c == '=';
    soft_ = soft_ && before_ == Token::prefix;
    const bool after_operand = before_ == Token::operand || before_ == Token::close;
    if (after_operand || soft_ || (assigns_ && before_ == Token::separator)) return Token::binary;
    may_stand_alone_ = c == '*' || c == '/';  // def f(a, /, *, b)
    return std::string_view("+-~*/").find(c) != std::string_view::npos ? Token::prefix
                                                                       : Token::wrong;
  }

  // "**=", "//", "->", "==": the next character still belongs to the operator that began with `c`.
  bool is_one_operator(char c) const {
    return text_[at_] == '=' || text_[at_] == c || (c == '-' && text_[at_] == '>') ||
           (c == '<' && text_[at_] == '>');
  }

  Token dots() {
    if (text_.substr(at_).starts_with("..")) return at_ += 2, Token::operand;     // the ellipsis
    if (before_ == Token::prefix) return may_stand_alone_ = true, Token::prefix;  // from . import
    return at_ < text_.size() && is_word(text_[at_]) ? Token::separator : Token::wrong;
  }

  Token close(char c) {
    const char open = c == ')' ? '(' : c == ']' ? '[' : '{';
    if (brackets_.empty() || brackets_.back() != open) return Token::wrong;
    brackets_.pop_back();
    return Token::close;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Token before_ = Token::line_end;
  bool may_stand_alone_ = false;
  bool soft_ = false;
  bool may_follow_operand_ = false;
  bool at_colon_ = false;
  bool assigns_ = false;
  bool in_strings_ = false;
  std::string brackets_;
};

}  // namespace

bool reads_as_python(std::string_view code) {
  return Reader(code).all_fits();
}

}  // namespace moderato
