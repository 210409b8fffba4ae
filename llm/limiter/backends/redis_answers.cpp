#include <fmt/format.h>

#include <algorithm>
#include <moderato/llm/limiter/backends/redis_answers.hpp>
#include <moderato/llm/limiter/backends/redis_words.hpp>
#include <moderato/llm/limiter/key_state.hpp>
#include <moderato/llm/limiter/quota_dimension.hpp>
#include <utility>

namespace moderato::redis_answers {
namespace {

/// Far enough for every clock, and near enough that sums and differences do not overflow.
constexpr std::int64_t most_micros = (std::int64_t{1} << 62) / 1000;
constexpr std::int64_t most = std::int64_t{1} << 53;

/// Reads one element after the other; what does not fit is noted, and reads as 0.
class Reader {
 public:
  explicit Reader(const RedisReply& reply) : reply_(reply) {
    if (reply.kind != RedisReply::Kind::array) wrong_ = "it is no array";
  }

  std::int64_t integer(std::int64_t least, std::int64_t greatest) {
    const RedisReply* element = next(RedisReply::Kind::integer, "a number");
    if (element == nullptr) return 0;
    if (element->integer >= least && element->integer <= greatest) return element->integer;
    wrong(fmt::format("{} is out of range", element->integer));
    return 0;
  }
  std::int64_t count() { return integer(0, most); }
  std::int64_t amount() { return integer(-most, most); }
  Instant time() { return redis_words::instant_of(integer(-most_micros, most_micros)); }
  Duration duration() { return std::chrono::microseconds(integer(-most_micros, most_micros)); }
  QuotaUnit unit() {
    return static_cast<QuotaUnit>(integer(0, static_cast<std::int64_t>(QuotaUnit::micros)));
  }
  std::string text() {
    const RedisReply* element = next(RedisReply::Kind::text, "a text");
    return element == nullptr ? std::string() : element->text;
  }
  [[nodiscard]] bool more() const { return !wrong_ && at_ < reply_.elements.size(); }

  template <class T>
  [[nodiscard]] Result<T> read(T value) {
    if (!wrong_) return value;
    return fail(ErrorCode::storage,
                fmt::format("redis: the answer is none of moderato's scripts: {}", *wrong_));
  }

 private:
  const RedisReply* next(RedisReply::Kind kind, std::string_view what) {
    if (wrong_) return nullptr;
    if (at_ >= reply_.elements.size() || reply_.elements[at_].kind != kind) {
      wrong(fmt::format("there is not {}", what));
      return nullptr;
    }
    return &reply_.elements[at_++];
  }
  void wrong(const std::string& what) {
    if (!wrong_) wrong_ = fmt::format("element {}: {}", at_, what);
  }

  const RedisReply& reply_;
  std::size_t at_ = 0;
  std::optional<std::string> wrong_;
};

Granted granted(Reader& from, Instant now) {
  Granted granted{.id = static_cast<std::uint64_t>(from.count())};
  granted.charged = {.requests = from.amount(),
                     .input_tokens = from.amount(),
                     .output_tokens = from.amount(),
                     .micros = from.amount()};
  if (const Instant next = from.time(); next > Instant{}) granted.next = next;
  granted.probe = from.amount() == 1;
  granted.start = std::max(now, from.time());
  granted.share = static_cast<double>(from.amount()) / 1e6;
  granted.next_lead = from.amount();
  return granted;
}

Waits waits(Reader& from) {
  constexpr std::int64_t slots = 8;
  constexpr std::int64_t state = 9;
  Waits waits;
  if (const Instant until = from.time(); until >= Instant{}) waits.until = until;
  const std::int64_t why = from.integer(0, state);
  if (why == slots) {
    waits.what = Waits::For::slots;
  } else if (why == state) {
    waits.what = Waits::For::state;
  } else {
    waits.unit =
        static_cast<QuotaUnit>(std::min(why, static_cast<std::int64_t>(QuotaUnit::micros)));
  }
  waits.lead = from.amount();
  return waits;
}

}  // namespace

Result<Acquired> read_acquired(const RedisReply& reply) {
  Reader from(reply);
  const std::int64_t kind = from.integer(1, 4);
  Acquired answer{.now = from.time(),
                  .version = from.count(),
                  .state = from.text(),
                  .slots_in_use = from.amount()};
  (void)from.amount();  // slots
  if (kind == 1) {
    answer.verdict = granted(from, answer.now);
  } else if (kind == 2) {
    answer.verdict = waits(from);
  } else if (kind == 3) {
    answer.verdict = Refuses{.until = from.time()};
  } else {
    answer.verdict = NeverFits{.unit = from.unit(), .limit = from.amount()};
  }
  while (from.more()) {
    answer.levels.push_back({.unit = from.unit(),
                             .limit = std::max<std::int64_t>(from.count(), 1),
                             .period = from.duration(),
                             .owed = from.duration()});
  }
  return from.read(std::move(answer));
}

Result<Told> read_told(const RedisReply& reply) {
  Reader from(reply);
  (void)from.time();
  Told told{.version = from.integer(-1, most), .state = from.text(), .value = from.amount()};
  return from.read(std::move(told));
}

Result<std::optional<KeySnapshot>> read_looked(const RedisReply& reply, Instant now,
                                               Duration max_hold) {
  Reader from(reply);
  const Instant there = from.time();
  const std::int64_t version = from.integer(-1, most);
  const std::string bytes = from.text();
  (void)from.amount();
  if (version < 0) return from.read<std::optional<KeySnapshot>>(std::nullopt);
  const KeyState state = KeyState::from_bytes(bytes).value_or(KeyState(max_hold));
  KeySnapshot snapshot{.state = state.name(there), .why = std::string(state.why())};
  if (snapshot.state == "open") snapshot.why.clear();
  snapshot.granted = static_cast<std::uint64_t>(from.count());
  snapshot.in_flight = from.amount();
  snapshot.max_in_flight = from.amount();
  snapshot.waiting = static_cast<std::size_t>(from.count());
  snapshot.rejections = static_cast<std::uint64_t>(from.count());
  snapshot.retries_left = static_cast<double>(from.amount()) / 10;
  snapshot.owners = static_cast<std::size_t>(from.count());
  const bool held = from.amount() > 0;
  const Instant until = from.time();
  if (held && until > there) snapshot.until = now + (until - there);
  while (from.more()) {
    const QuotaUnit unit = from.unit();
    DimensionSnapshot dimension{.name = to_string(unit),
                                .limit = from.amount(),
                                .period = from.duration(),
                                .level = from.amount()};
    if (unit != QuotaUnit::micros) {
      double& left = unit == QuotaUnit::requests ? snapshot.requests_left : snapshot.tokens_left;
      left = std::min(left, static_cast<double>(dimension.level));
    }
    snapshot.dimensions.push_back(std::move(dimension));
  }
  return from.read(std::optional(std::move(snapshot)));
}

}  // namespace moderato::redis_answers
