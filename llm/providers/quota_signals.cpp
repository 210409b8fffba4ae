#include <moderato/llm/providers/quota_signals.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

// Why the text of an error is read
//
// OpenAI's and Groq's quotas are continuous buckets, and a 429's own words give the exact state of
// the bucket: "Limit 200000, Used 193762, Requested 7653. Please try again in 424ms" says that the
// level is 6238 and refills by 200000/60 a second, so 7653 fit in (193762 + 7653 − 200000) ·
// 60/200000 = 0.4245 s. With that, one refusal corrects the limiter's model instead of only pausing
// it.
//
// Why 64-bit floating point is enough: a wait is rounded up to a millisecond; ten years are 3·10¹¹
// ms, far below 2⁵³.

namespace moderato {
namespace {

constexpr double max_milliseconds = 10 * 366 * 86'400e3;

char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}
bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t';
}

bool starts_with_no_case(std::string_view text, std::string_view prefix) noexcept {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

bool ends_with_no_case(std::string_view text, std::string_view suffix) noexcept {
  return text.size() >= suffix.size() &&
         starts_with_no_case(text.substr(text.size() - suffix.size()), suffix);
}

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// What follows the first occurrence of `words` (in lower case), ASCII case ignored.
std::optional<std::string_view> after(std::string_view text, std::string_view words) noexcept {
  for (std::size_t at = 0; at + words.size() <= text.size(); ++at) {
    if (starts_with_no_case(text.substr(at), words)) return text.substr(at + words.size());
  }
  return std::nullopt;
}

/// Takes "12" or "12.5" from the front: digits, then at most one point with digits after it.
std::optional<double> take_number(std::string_view& text) noexcept {
  std::size_t length = 0;
  while (length < text.size() && is_digit(text[length])) ++length;
  if (length == 0) return std::nullopt;
  if (length + 1 < text.size() && text[length] == '.' && is_digit(text[length + 1])) {
    ++length;
    while (length < text.size() && is_digit(text[length])) ++length;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + length, value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(length);
  return value;
}

struct Unit {
  std::string_view name;
  double milliseconds;
};
// Longer names first, so that "ms" is not read as minutes and an s.
constexpr std::array<Unit, 8> units{{{"ms", 1},
                                     {"us", 1e-3},
                                     {"µs", 1e-3},
                                     {"μs", 1e-3},
                                     {"ns", 1e-6},
                                     {"h", 3'600e3},
                                     {"m", 60e3},
                                     {"s", 1e3}}};

std::optional<double> take_unit(std::string_view& text) noexcept {
  for (const Unit& unit : units) {
    if (!text.starts_with(unit.name)) continue;
    text.remove_prefix(unit.name.size());
    return unit.milliseconds;
  }
  return std::nullopt;
}

std::optional<Duration> rounded_up(double milliseconds) noexcept {
  if (!(milliseconds <= max_milliseconds)) return std::nullopt;
  // 7.66 s is 7660.000000000001 ms in floating point: a billionth is not a reason to round up.
  const double whole = std::ceil(milliseconds - 1e-6);
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::max(whole, 0.0)));
}

/// Takes the duration at the front of a text in which words follow: "41.724s. Visit …", "3
/// seconds".
std::optional<Duration> take_duration(std::string_view text) noexcept {
  double milliseconds = 0;
  bool found = false;
  while (!text.empty() && is_digit(text.front())) {
    const auto number = take_number(text);
    if (!number) return std::nullopt;
    std::string_view rest = text;
    if (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    if (starts_with_no_case(rest, "milliseconds")) return rounded_up(milliseconds + *number);
    if (starts_with_no_case(rest, "second")) return rounded_up(milliseconds + *number * 1e3);
    if (starts_with_no_case(rest, "minute")) return rounded_up(milliseconds + *number * 60e3);
    if (starts_with_no_case(rest, "hour")) return rounded_up(milliseconds + *number * 3'600e3);
    const auto unit = take_unit(text);
    if (!unit) return found ? std::nullopt : rounded_up(*number * 1e3);
    milliseconds += *number * *unit;
    found = true;
  }
  return found ? rounded_up(milliseconds) : std::nullopt;
}

/// A whole number at the front, blanks and "~" before it skipped.
std::optional<std::int64_t> take_count(std::string_view text) noexcept {
  while (!text.empty() && (is_blank(text.front()) || text.front() == '~')) text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return std::nullopt;
  return value;
}

/// The number after `word`, as in "Limit 200000", "Limit: 3", "Requested ~4251": the first
/// occurrence of the word that a number follows ("Rate limit reached" is none).
std::optional<std::int64_t> count_after(std::string_view text, std::string_view word) noexcept {
  for (auto rest = after(text, word); rest; rest = after(*rest, word)) {
    std::string_view number = *rest;
    if (number.starts_with(':')) number.remove_prefix(1);
    if (const auto count = take_count(number)) return count;
  }
  return std::nullopt;
}

/// "tokens" of "on tokens per min", "requests_per_day" of "on requests per day"; empty if not said.
std::string dimension_in_text(std::string_view message) {
  for (auto rest = after(message, " on "); rest; rest = after(*rest, " on ")) {
    const std::size_t length = rest->find(' ');
    if (length == std::string_view::npos || !rest->substr(length).starts_with(" per ")) continue;
    std::string dimension(rest->substr(0, length));
    if (!rest->substr(length).starts_with(" per min")) dimension += "_per_day";
    return dimension;
  }
  return {};
}

// --- Dates

class DateReader {
 public:
  explicit DateReader(std::string_view text) : text_(text) {}
  int number(std::size_t digits) {
    int value = 0;
    if (text_.size() < digits) good_ = false;
    for (std::size_t i = 0; good_ && i < digits; ++i) {
      good_ = is_digit(text_[i]);
      value = value * 10 + (text_[i] - '0');
    }
    if (good_) text_.remove_prefix(digits);
    return value;
  }
  bool skip(std::string_view words) {
    if (!text_.starts_with(words)) return false;
    text_.remove_prefix(words.size());
    return true;
  }
  void expect(std::string_view words) { good_ = skip(words) && good_; }
  unsigned month() {
    static constexpr std::string_view names = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const std::size_t at = names.find(text_.substr(0, 3));
    if (text_.size() < 3 || at == std::string_view::npos || at % 3 != 0) return good_ = false, 0U;
    text_.remove_prefix(3);
    return static_cast<unsigned>(at / 3 + 1);
  }
  void skip_digits() {
    while (!text_.empty() && is_digit(text_.front())) text_.remove_prefix(1);
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] std::string_view rest() const { return text_; }

 private:
  std::string_view text_;
  bool good_ = true;
};

std::optional<WallTime> wall_time(int year, unsigned month, unsigned day,
                                  std::chrono::seconds time) {
  const auto date = std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day);
  // The years that nanoseconds in 64 bits can hold.
  if (!date.ok() || year < 1700 || year > 2250) return std::nullopt;
  return WallTime(std::chrono::sys_days(date).time_since_epoch() + time);
}

std::chrono::seconds take_time_of_day(DateReader& reader) {
  const std::chrono::hours hours(reader.number(2));
  reader.expect(":");
  const std::chrono::minutes minutes(reader.number(2));
  reader.expect(":");
  return hours + minutes + std::chrono::seconds(reader.number(2));
}

std::optional<WallTime> parse_imf_fixdate(
    std::string_view text) {  // "Fri, 31 Dec 1999 23:59:59 GMT"
  DateReader reader(text.size() > 5 ? text.substr(5) : std::string_view());
  const int day = reader.number(2);
  reader.expect(" ");
  const unsigned month = reader.month();
  reader.expect(" ");
  const int year = reader.number(4);
  reader.expect(" ");
  const auto time = take_time_of_day(reader);
  if (!reader.good() || reader.rest() != " GMT") return std::nullopt;
  return wall_time(year, month, static_cast<unsigned>(day), time);
}

std::optional<WallTime> parse_rfc3339(std::string_view text) {  // "2026-07-25T12:05:00.5+02:00"
  DateReader reader(text);
  const int year = reader.number(4);
  reader.expect("-");
  const int month = reader.number(2);
  reader.expect("-");
  const int day = reader.number(2);
  reader.expect("T");
  auto time = take_time_of_day(reader);
  if (reader.skip(".")) reader.skip_digits();
  if (reader.skip("+")) {
    time -= std::chrono::hours(reader.number(2));
    reader.expect(":");
    time -= std::chrono::minutes(reader.number(2));
  } else if (reader.skip("-")) {
    time += std::chrono::hours(reader.number(2));
    reader.expect(":");
    time += std::chrono::minutes(reader.number(2));
  } else {
    reader.expect("Z");
  }
  if (!reader.good() || !reader.rest().empty()) return std::nullopt;
  return wall_time(year, static_cast<unsigned>(month), static_cast<unsigned>(day), time);
}

// --- Headers

enum class QuotaField { limit, remaining, reset };
constexpr std::array<std::string_view, 3> field_names{"limit", "remaining", "reset"};

struct QuotaHeaderName {
  QuotaField field;
  std::string_view dimension;
};

/// "x-ratelimit-limit-tokens" → (limit, "tokens"); "anthropic-ratelimit-tokens-limit" → the same.
std::optional<QuotaHeaderName> quota_header_name(std::string_view name) noexcept {
  constexpr std::string_view field_first = "x-ratelimit-";
  constexpr std::string_view field_last = "anthropic-ratelimit-";
  for (std::size_t i = 0; i < field_names.size(); ++i) {
    const std::string_view field = field_names[i];
    if (starts_with_no_case(name, field_first)) {
      const std::string_view rest = name.substr(field_first.size());
      if (rest.size() > field.size() + 1 && starts_with_no_case(rest, field) &&
          rest[field.size()] == '-') {
        return QuotaHeaderName{static_cast<QuotaField>(i), rest.substr(field.size() + 1)};
      }
    } else if (starts_with_no_case(name, field_last)) {
      const std::string_view rest = name.substr(field_last.size());
      if (rest.size() > field.size() + 1 && ends_with_no_case(rest, field) &&
          rest[rest.size() - field.size() - 1] == '-') {
        return QuotaHeaderName{static_cast<QuotaField>(i),
                               rest.substr(0, rest.size() - field.size() - 1)};
      }
    }
  }
  return std::nullopt;
}

QuotaHeader& dimension_of(std::vector<QuotaHeader>& headers, std::string_view dimension) {
  const auto found = std::find_if(headers.begin(), headers.end(), [&](const QuotaHeader& header) {
    return header.dimension == dimension;
  });
  if (found != headers.end()) return *found;
  headers.push_back({.dimension = std::string(dimension)});
  return headers.back();
}

}  // namespace

std::optional<Duration> parse_quota_duration(std::string_view text) {
  text = trimmed(text);
  double milliseconds = 0;
  bool has_unit = false;
  do {
    const auto number = take_number(text);
    if (!number) return std::nullopt;
    const auto unit = take_unit(text);
    if (!unit) {
      if (has_unit || !text.empty()) return std::nullopt;
      return rounded_up(*number * 1e3);
    }
    milliseconds += *number * *unit;
    has_unit = true;
  } while (!text.empty());
  return rounded_up(milliseconds);
}

std::optional<WallTime> parse_http_date(std::string_view text) {
  text = trimmed(text);
  if (text.empty()) return std::nullopt;
  return is_digit(text.front()) ? parse_rfc3339(text) : parse_imf_fixdate(text);
}

std::optional<Duration> parse_wait(std::string_view text, WallTime now) {
  if (const auto duration = parse_quota_duration(text)) return duration;
  const auto date = parse_http_date(text);
  if (!date) return std::nullopt;
  const auto wait = std::max(*date - now, WallTime::duration::zero());
  return rounded_up(std::chrono::duration<double, std::milli>(wait).count());
}

std::optional<Duration> wait_in_text(std::string_view message) {
  constexpr std::array<std::string_view, 5> openings{
      "try again in ", "try again after ", "retry after ", "retry in ", "\"retrydelay\":"};
  for (const std::string_view opening : openings) {
    for (auto rest = after(message, opening); rest; rest = after(*rest, opening)) {
      std::string_view words = trimmed(*rest);
      if (words.starts_with('"')) words.remove_prefix(1);
      if (const auto wait = take_duration(words)) return wait;
    }
  }
  return std::nullopt;
}

std::optional<QuotaState> quota_state_in_text(std::string_view message) {
  const auto limit = count_after(message, "limit");
  if (!limit) return std::nullopt;
  return QuotaState{.dimension = dimension_in_text(message),
                    .limit = *limit,
                    .used = count_after(message, "used").value_or(0),
                    .requested = count_after(message, "requested").value_or(0)};
}

bool says_request_too_large(std::string_view message) {
  if (!starts_with_no_case(trimmed(message), "request too large")) return false;
  const auto state = quota_state_in_text(message);
  return state && state->requested > state->limit && !count_after(message, "used");
}

QuotaSignal quota_signal(const HttpHeaders& headers, WallTime now) {
  QuotaSignal signal;
  if (const auto date = headers.find("date")) now = parse_http_date(*date).value_or(now);
  headers.for_each([&](std::string_view name, std::string_view value) {
    const auto known = quota_header_name(name);
    if (!known) return;
    QuotaHeader& header = dimension_of(signal.headers, known->dimension);
    switch (known->field) {
      case QuotaField::limit:
        header.limit = take_count(value);
        break;
      case QuotaField::remaining:
        header.remaining = take_count(value);
        break;
      case QuotaField::reset:
        header.reset = parse_wait(value, now);
        break;
    }
  });
  if (const auto text = headers.find("retry-after-ms")) {
    std::string_view rest = *text;
    if (const auto number = take_number(rest); number && rest.empty()) {
      signal.retry_after = rounded_up(*number);
    }
  }
  if (const auto text = headers.find("retry-after"); text && !signal.retry_after) {
    signal.retry_after = parse_wait(*text, now);
    // A date that is over says nothing about when to come back.
    if (signal.retry_after == Duration::zero()) signal.retry_after.reset();
  }
  if (const auto text = headers.find("x-should-retry")) {
    if (*text == "true") signal.should_retry = true;
    if (*text == "false") signal.should_retry = false;
  }
  return signal;
}

void add_error_text(QuotaSignal& signal, std::string_view message) {
  signal.state = quota_state_in_text(message);
  if (!signal.retry_after) signal.retry_after = wait_in_text(message);
}

}  // namespace moderato
