#include <moderato/llm/limiter/quota_key.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <random>

namespace moderato {
namespace {

using namespace std::chrono_literals;
using Kind = Outcome::Kind;

constexpr Instant start = Instant{} + 1h;
constexpr Ask call{.input_tokens = 900, .output_tokens = 100};

QuotaRules rules(std::int64_t requests, std::int64_t tokens, std::int64_t slots) {
  QuotaRules rules{.slots = slots};
  if (requests > 0) {
    rules.dimensions.push_back({.name = "requests", .limit = requests, .burst = 10s});
  }
  if (tokens > 0) {
    rules.dimensions.push_back(
        {.name = "tokens", .unit = QuotaUnit::tokens, .limit = tokens, .burst = 10s});
  }
  return rules;
}

Granted granted(QuotaKey& key, Instant now, const Ask& ask = call) {
  const auto admission = key.try_acquire(now, ask);
  REQUIRE(std::holds_alternative<Granted>(admission));
  return std::get<Granted>(admission);
}

MustWait must_wait(QuotaKey& key, Instant now, const Ask& ask = call) {
  const auto admission = key.try_acquire(now, ask);
  REQUIRE(std::holds_alternative<MustWait>(admission));
  return std::get<MustWait>(admission);
}

Error refusal(QuotaKey& key, Instant now, const Ask& ask = call) {
  const auto admission = key.try_acquire(now, ask);
  REQUIRE(std::holds_alternative<Refused>(admission));
  return std::get<Refused>(admission).error;
}

Outcome rejected(std::optional<Duration> hint, std::optional<QuotaState> state = {}) {
  return {.kind = Kind::rejected,
          .error = ErrorCode::rate_limited,
          .http_status = 429,
          .why = "Rate limit reached",
          .signal = {.state = std::move(state), .retry_after = hint}};
}

Outcome with_header(QuotaHeader header) {
  return {.kind = Kind::succeeded,
          .input_tokens = 900,
          .output_tokens = 100,
          .signal = {.headers = {std::move(header)}}};
}

TEST_CASE("all dimensions are granted together or not at all") {
  QuotaKey key(rules(60, 6'000, 4));
  const auto first = granted(key, start);
  const auto wait = must_wait(key, start);  // tokens: 1,000 at once
  CHECK(std::string(wait.reason) == "tokens");
  CHECK(wait.until == start + 10s);
  CHECK(key.snapshot(start).requests_left == 9);
  CHECK(key.snapshot(start).in_flight == 1);
  key.settle(start, first, call, {.kind = Kind::unknown});
  CHECK(key.snapshot(start).in_flight == 0);
}

TEST_CASE("a wait for a slot has no instant") {
  QuotaKey key(rules(60, 0, 1));
  const auto first = granted(key, start);
  CHECK(must_wait(key, start).until == Instant::max());
  CHECK(std::string(must_wait(key, start).reason) == "in_flight");
  key.settle(start, first, call, {.kind = Kind::succeeded});
  granted(key, start);
}

TEST_CASE("a call that can never fit is refused before any network") {
  QuotaKey key(rules(0, 5'000, 0));
  const Error error = refusal(key, start, {.input_tokens = 4'000, .output_tokens = 1'001});
  CHECK(error.code == ErrorCode::too_large);
  CHECK(error.message.find("5001 tokens") != std::string::npos);
  CHECK(error.message.find("5000 tokens/min") != std::string::npos);
  granted(key, start, {.input_tokens = 5'000});
}

TEST_CASE("each outcome charges what the provider charges") {
  struct Row {
    Outcome outcome;
    double requests_left, tokens_left;
  };
  const Row rows[] = {
      {{.kind = Kind::succeeded, .input_tokens = 500, .output_tokens = 20}, 9, 480},
      {{.kind = Kind::succeeded}, 9, 0},
      {{.kind = Kind::succeeded, .input_tokens = 900, .output_tokens = 400}, 9, -300},
      {rejected(1ms), 9, 1'000},
      {{.kind = Kind::failed, .error = ErrorCode::server_error}, 9, 1'000},
      {{.kind = Kind::failed, .input_tokens = 300, .error = ErrorCode::connection}, 9, 700},
      {{.kind = Kind::not_sent}, 10, 1'000},
      {{.kind = Kind::unknown}, 9, 0},
  };
  for (const auto& row : rows) {
    CAPTURE(static_cast<int>(row.outcome.kind));
    QuotaKey key(rules(60, 6'000, 1));
    key.settle(start, granted(key, start), call, row.outcome);
    CHECK(key.snapshot(start).requests_left == row.requests_left);
    CHECK(key.snapshot(start).tokens_left == row.tokens_left);
    CHECK(key.snapshot(start).in_flight == 0);
  }
}

TEST_CASE("a refusal that names its numbers corrects that dimension and pauses nobody") {
  QuotaKey key(rules(500, 200'000, 0));
  const Ask large{.input_tokens = 7'653};
  const auto grant = granted(key, start, large);
  const auto change = key.settle(start + 50ms, grant, large,
                                 rejected(424ms, QuotaState{"tokens", 200'000, 193'762, 7'653}));
  REQUIRE(change.has_value());
  CHECK(change->state == "corrected");
  CHECK(change->lasting == 424'500us);
  granted(key, start + 50ms, {.input_tokens = 100});
  const auto wait = must_wait(key, start + 50ms, {.input_tokens = 7'553});
  CHECK(wait.until == start + 50ms + 424'500us);
  CHECK(key.snapshot(start + 50ms).requests_left > 80);
}

TEST_CASE("calls sent since the refused one count on top of what the refusal says") {
  QuotaKey key(rules(0, 60'000, 0));
  const auto grant = granted(key, start);
  granted(key, start + 1s, {.input_tokens = 3'000});
  key.settle(start + 2s, grant, call, rejected({}, QuotaState{"tokens", 60'000, 59'500, 1'000}));
  // 500 were left before the 3,000: 2,500 short, and 1,000 are wanted.
  CHECK(must_wait(key, start + 2s).until == start + 2s + 3'500ms);
}

TEST_CASE("where the stated wait contradicts the stated numbers the wait is believed") {
  QuotaKey key(rules(0, 100'000, 0));
  const auto change =
      key.settle(start, granted(key, start), call,
                 rejected(114h + 18min, QuotaState{"tokens", 100'000, 96'749, 19'126}));
  REQUIRE(change.has_value());
  CHECK(change->state == "closed");
  CHECK(refusal(key, start).retry_after == 114h + 18min);
}

TEST_CASE("a refusal with only a hint pauses the key for everybody") {
  QuotaKey key(rules(0, 0, 8));
  const auto grant = granted(key, start);
  CHECK(key.settle(start, grant, call, rejected(3s))->state == "paused");
  CHECK(std::string(must_wait(key, start).reason) == "paused");
  CHECK(must_wait(key, start).until == start + 3s);
  CHECK(key.snapshot(start).state == "paused");
  CHECK(key.snapshot(start).until == start + 3s);
  granted(key, start + 3s);
}

TEST_CASE("a call that was too large for the provider says nothing about the others") {
  QuotaKey key(rules(0, 0, 8));
  Outcome outcome = rejected({});
  outcome.error = ErrorCode::too_large;
  CHECK_FALSE(key.settle(start, granted(key, start), call, outcome).has_value());
  granted(key, start);
}

TEST_CASE(
    "an overloaded provider that names a time holds the key so long, one broken answer does not") {
  QuotaKey key(rules(0, 0, 8));
  Outcome outcome{.kind = Kind::failed, .error = ErrorCode::server_error, .http_status = 500};
  CHECK_FALSE(key.settle(start, granted(key, start), call, outcome).has_value());
  outcome = {.kind = Kind::failed,
             .error = ErrorCode::overloaded,
             .http_status = 503,
             .signal = {.retry_after = 2s}};
  const auto change = key.settle(start, granted(key, start), call, outcome);
  CHECK(change->state == "overload");
  CHECK(change->lasting == 2s);
}

TEST_CASE("a header below our level lowers it at once, one above changes nothing") {
  QuotaKey key(rules(600, 0, 0));
  CHECK(key.snapshot(start).requests_left == 100);
  key.settle(start, granted(key, start), call, with_header({"requests", 600, 599, 100ms}));
  CHECK(key.snapshot(start).requests_left == 99);
  key.settle(start, granted(key, start), call, with_header({"requests", 600, 20, 58s}));
  CHECK(key.snapshot(start).requests_left == 20);
  key.settle(start, granted(key, start), call, with_header({"requests", 600, 400, 20s}));
  CHECK(key.snapshot(start).requests_left == 19);
}

TEST_CASE("a header that comes late is corrected for what was sent and refilled meanwhile") {
  for (const Kind kind : {Kind::succeeded, Kind::unknown}) {  // also when the stream is cut
    QuotaKey key(rules(60, 0, 0));
    const auto streamed = granted(key, start);
    for (int i = 1; i <= 5; ++i) {
      key.settle(start + i * 1s, granted(key, start + i * 1s), call, {.kind = Kind::unknown});
    }
    // 3 were left when the stream began; 10 s refilled 10, five calls took 5.
    Outcome outcome = with_header({"requests", 60, 3, 57s});
    outcome.kind = kind;
    key.settle(start + 10s, streamed, call, outcome);
    CHECK(key.snapshot(start + 10s).requests_left == 8);
  }
}

TEST_CASE("a very late header does not prove a debt: what was sent was refilled meanwhile") {
  QuotaKey key(rules(600, 0, 0));  // 10 a second
  const auto slow = granted(key, start);
  for (int i = 1; i <= 900; ++i) {  // 9 a second
    const Instant now = start + i * 111ms;
    key.settle(now, granted(key, now), call, {.kind = Kind::unknown});
  }
  const double before = key.snapshot(start + 100s).requests_left;
  key.settle(start + 100s, slow, call, with_header({"requests", 600, 599, 100ms}));
  CHECK(key.snapshot(start + 100s).requests_left == before);
}

TEST_CASE("limits are learnt from headers, with their period, and hold from then on") {
  QuotaKey key({.slots = 4, .max_slots = 64, .safety = 1.0});
  CHECK(std::isinf(key.snapshot(start).requests_left));
  Outcome outcome = with_header({"requests", 14'400, 14'370, 179'560ms});
  outcome.signal.headers.push_back({"tokens", 6'000, 400, 56s});
  key.settle(start, granted(key, start), call, outcome);
  CHECK(key.describe() ==
        "learning, 14400 requests/day, 6000 tokens/min, 64 of at most 64 in flight");
  CHECK(key.snapshot(start).requests_left == 14'370);
  CHECK(key.snapshot(start).tokens_left == 300);  // the burst of 3 s
  const auto wait = must_wait(key, start, {.input_tokens = 700});
  CHECK(std::string(wait.reason) == "tokens");
  CHECK(wait.until == start + 3s);  // 400 are left, 100 come each second
}

TEST_CASE("two limits with one name and different periods are kept apart") {
  QuotaKey key(rules(30, 0, 0));
  key.settle(start, granted(key, start), call, with_header({"requests", 1'000, 990, 864s}));
  CHECK(key.describe() == "30 requests/min, 1000 requests/day, any number in flight");
  key.settle(start, granted(key, start), call, with_header({"requests", 1'000, 2, 86'227s}));
  CHECK(key.snapshot(start).requests_left == 2);
}

TEST_CASE("a limit is learnt from the words of a refusal too") {
  QuotaKey key({.slots = 4, .max_slots = 64, .safety = 1.0});
  key.settle(start, granted(key, start), call, rejected(20s, QuotaState{"requests", 3, 3, 1}));
  CHECK(must_wait(key, start).until == start + 20s);
}

TEST_CASE(
    "slots double each round until the first overload, which halves them, and then grow by one") {
  QuotaKey key({.slots = 1, .max_slots = 64});
  Instant now = start;
  const auto round = [&](const Outcome& outcome) {
    std::vector<Granted> grants;
    const auto slots = key.snapshot(now).max_in_flight;
    for (std::int64_t i = 0; i < slots; ++i) grants.push_back(granted(key, now));
    for (const auto& grant : grants) key.settle(now + 1s, grant, call, outcome);
    now += 10s;
  };
  const Outcome good{.kind = Kind::succeeded};
  const auto slots_after = [&](int rounds) {
    for (int i = 0; i < rounds; ++i) round(good);
    return key.snapshot(now).max_in_flight;
  };
  CHECK(slots_after(1) == 2);
  CHECK(slots_after(1) > 2);
  CHECK(slots_after(4) >= 16);
  const auto before = key.snapshot(now).max_in_flight;
  round({.kind = Kind::failed, .error = ErrorCode::overloaded, .http_status = 503});
  CHECK(key.snapshot(now).max_in_flight == before / 2);
  key.settle(now, granted(key, now), call, good);  // the probe
  CHECK(slots_after(2) == before / 2 + 2);
}

TEST_CASE("without a stated limit a refusal leads to a pace below the rate that was answered") {
  QuotaKey key({.slots = 1, .max_slots = 64});
  Instant now = start;
  for (int i = 0; i < 400; ++i) {  // ten a second
    key.settle(now, granted(key, now), call, {.kind = Kind::succeeded});
    now += 100ms;
  }
  key.settle(now, granted(key, now), call, rejected(1s));
  now += 1s;
  key.settle(now + 10ms, granted(key, now), call, {.kind = Kind::succeeded});  // the probe
  const Instant begin = now += 10ms;
  int went = 0;
  for (; now < begin + 20s; now += 10ms) {
    const auto admission = key.try_acquire(now, call);
    if (const auto* grant = std::get_if<Granted>(&admission)) {
      ++went;
      key.settle(now, *grant, call, {.kind = Kind::succeeded});
    }
  }
  CHECK(went >= 20 * 6);
  CHECK(went <= 20 * 10);
  key.settle(now, granted(key, now + 2s), call, with_header({"requests", 600, 599, 100ms}));
  CHECK(key.describe().find("found") == std::string::npos);  // now it is known
}

TEST_CASE("slots that are not used do not grow") {
  QuotaKey key({.slots = 4, .max_slots = 64});
  for (int i = 0; i < 100; ++i) {
    key.settle(start, granted(key, start), call, {.kind = Kind::succeeded});
  }
  CHECK(key.snapshot(start).max_in_flight == 4);
}

TEST_CASE("a clock that steps back takes nothing away and gives nothing") {
  QuotaKey key(rules(60, 0, 0));
  for (int i = 0; i < 10; ++i) granted(key, start);
  CHECK(must_wait(key, start - 30min).until == start + 1s);
}

/// A random history of one key: what was charged, and (negative) given back, at which instant.
struct History {
  struct Charge {
    Instant at;
    Ask charge;
  };
  std::vector<Charge> charges;
  std::int64_t most_in_flight = 0;
};

History random_history(std::uint64_t seed, QuotaKey& key, std::int64_t largest) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::int64_t bound) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(bound));
  };
  struct Open {
    Granted grant;
    Ask ask;
  };
  History history;
  std::vector<Open> open;
  Instant now = start;
  for (int step = 0; step < 600; ++step) {
    now += std::chrono::microseconds(below(step % 40 == 0 ? 30'000'000 : 300'000));
    const Ask ask{.input_tokens = 1 + below(largest / 2), .output_tokens = below(largest / 2)};
    const auto admission = key.try_acquire(now, ask);
    if (const auto* grant = std::get_if<Granted>(&admission)) {
      open.push_back({*grant, ask});
      history.charges.push_back({now, ask});
    }
    history.most_in_flight = std::max(history.most_in_flight, key.snapshot(now).in_flight);
    if (open.empty() || below(5) < 2) continue;
    const auto which = static_cast<std::size_t>(below(static_cast<std::int64_t>(open.size())));
    const Open ended = open[which];
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(which));
    const Kind kinds[] = {Kind::succeeded, Kind::succeeded, Kind::succeeded,
                          Kind::failed,    Kind::not_sent,  Kind::unknown};
    Outcome outcome{.kind = kinds[below(6)]};
    Ask back{.requests = 0};
    if (outcome.kind == Kind::succeeded) {
      outcome.input_tokens = 1 + below(ended.ask.input_tokens);
      outcome.output_tokens = below(ended.ask.output_tokens + 1);
      back -= {0, ended.ask.input_tokens - outcome.input_tokens,
               ended.ask.output_tokens - outcome.output_tokens};
    } else if (outcome.kind == Kind::failed) {
      back -= {0, ended.ask.input_tokens, ended.ask.output_tokens};
    } else if (outcome.kind == Kind::not_sent) {
      back -= ended.ask;
    }
    history.charges.push_back({now, back});
    key.settle(now, ended.grant, ended.ask, outcome);
  }
  return history;
}

double worst_excess(const History& history, QuotaUnit unit, std::int64_t per_minute) {
  const double rate = static_cast<double>(per_minute) / 60e9;
  double worst = -1e18;
  for (std::size_t first = 0; first < history.charges.size(); ++first) {
    double sum = 0;
    for (std::size_t last = first; last < history.charges.size(); ++last) {
      sum += static_cast<double>(amount(history.charges[last].charge, unit));
      const Duration span = history.charges[last].at - history.charges[first].at;
      worst = std::max(worst, sum - rate * static_cast<double>(span.count()));
    }
  }
  return worst;
}

TEST_CASE("no interleaving lets the charges of any interval exceed rate · interval + burst") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    const auto scale = static_cast<std::int64_t>(seed % 7 + 1);
    const std::int64_t requests = 60 * scale;
    const std::int64_t tokens = 60'000 * scale;
    const std::int64_t slots = 3 + scale;
    QuotaKey key(rules(requests, tokens, slots));
    const std::int64_t largest = 1'500 * scale;  // below the burst of 10 s
    const History history = random_history(seed, key, largest);
    REQUIRE(history.charges.size() > 100);
    const auto burst = [](std::int64_t limit) { return static_cast<double>(limit) / 6 + 1; };
    CHECK(worst_excess(history, QuotaUnit::requests, requests) <= burst(requests));
    CHECK(worst_excess(history, QuotaUnit::tokens, tokens) <= burst(tokens));
    CHECK(history.most_in_flight <= slots);
  }
}

}  // namespace
}  // namespace moderato
