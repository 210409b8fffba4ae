#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <moderato/llm/limiter/backends/redis_backend.hpp>
#include <moderato/llm/limiter/backends/redis_words.hpp>
#include <utility>

// What is told to Redis about a call that has ended; see redis_backend.cpp.

namespace moderato {

using namespace redis_words;
using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::seconds;

namespace {

std::string flag(bool set) {
  return std::string(1, set ? '1' : '0');
}

/// The state machine, and what follows from it for the scripts, at the server's `now`.
std::vector<std::string> words_of(const KeyState& state, Instant now) {
  KeyState later = state;
  const KeyState::Gate gate = later.gate(now);
  Instant until = now;
  int held = 0;
  bool probe = gate == KeyState::Gate::probe;
  if (gate == KeyState::Gate::wait || gate == KeyState::Gate::refuse) {
    held = gate == KeyState::Gate::wait ? 1 : 2;
    until = later.held_until(now);
    probe = later.gate(until) == KeyState::Gate::probe;
  } else if (probe || later.take_reopened()) {
    held = 1;  // over at once: the script lets a probe go, or paces from the start
  }
  const int share = later.share(until);
  const int growth = later.share(until + seconds(1)) - share;
  return {std::string(reinterpret_cast<const char*>(&state), sizeof(state)),
          std::to_string(held),
          std::to_string(micros_of(until)),
          probe ? "1" : "0",
          std::to_string(share),
          std::to_string(growth),
          std::to_string(micros_of(until))};
}

/// Nothing given back, nothing learnt: the words of a settle from its fifth on.
std::vector<std::string> empty_settle(const std::string& channel) {
  return {"0", "0", "0", "0", "0", "0", "0",    "0", "0",     "0", "0", "0",
          "",  "",  "",  "0", "0", "0", "1000", "0", channel, "0", "0"};
}

enum Word : std::size_t {  // of a settle, counted from 0
  grant_id = 4,
  given_back = 5,
  theirs_too = 9,
  granted_at = 10,
  charged_then = 11,
  is_refusal = 15,
  corrected = 16,
  made_of = 17,
  state_bytes = 18,
  hold = 19,
  share_now = 22,
  back_counts = 25,
  share_from = 26,
};

}  // namespace

std::optional<KeyChange> RedisBackend::move_state(Instant now, const Granted& grant, const Ask& ask,
                                                  const Outcome& outcome,
                                                  std::vector<std::string>& words) {
  const KeyState before = mirror_.state();
  auto change = mirror_.settle(now, grant, ask, outcome);
  if (std::memcmp(&before, &mirror_.state(), sizeof(KeyState)) == 0) return change;
  auto state = words_of(mirror_.state(), now);
  words[made_of] = std::to_string(state_version_);
  words[state_bytes] = std::move(state[0]);
  std::move(state.begin() + 1, state.begin() + 6, words.begin() + hold);
  words[share_from] = std::move(state[6]);
  return change;
}

std::optional<KeyChange> RedisBackend::settle(Instant now, const Granted& grant, const Ask& ask,
                                              const Outcome& outcome) {
  auto change = send_settle(now, grant, ask, outcome);
  if (options_.callers_time) (void)look(now);  // has arrived when this is answered
  return change;
}

std::optional<KeyChange> RedisBackend::send_settle(Instant now, const Granted& grant,
                                                   const Ask& ask, const Outcome& outcome) {
  const std::scoped_lock lock(mutex_);
  if ((grant.id & local_grant) != 0) return settle_local(now, grant, ask, outcome);
  const auto known = in_flight_.find(grant.id);
  if (known == in_flight_.end()) return std::nullopt;
  const Grant on_server = known->second;
  in_flight_.erase(known);
  const Instant server_now = instant_of(server_time(now));
  const Ask weighed = mirror_.weigh(ask);
  Ask back = weighed;
  back -= mirror_.charge_for(weighed, outcome);
  const bool succeeded = outcome.kind == Outcome::Kind::succeeded;

  auto words = tell(now, "settle");
  auto rest = empty_settle(channel_);
  words.insert(words.end(), rest.begin(), rest.end());
  std::vector<std::string> amounts;
  push(amounts, back);
  push(amounts, grant.charged);
  words[grant_id] = std::to_string(grant.id);
  std::copy_n(amounts.begin(), 4, words.begin() + given_back);
  std::copy_n(amounts.begin() + 4, 4, words.begin() + charged_then);
  words[theirs_too] = flag(mirror_.settles() != Settles::unknown || !succeeded);
  words[granted_at] = std::to_string(on_server.at);
  words[is_refusal] = flag(outcome.kind == Outcome::Kind::rejected);
  words[back_counts] = flag(succeeded && mirror_.settles() == Settles::yes);
  Granted there = grant;
  there.at = instant_of(on_server.at);
  there.epoch = on_server.epoch;
  auto change = move_state(server_now, there, ask, outcome, words);
  words[corrected] = corrections(outcome, server_now - there.at,
                                 change && change->state == std::string_view("corrected"));
  if (words[made_of].empty()) {
    client_->run(tell_script, std::move(words), nullptr);
  } else {
    send_state(std::move(words),
               [this, there, ask, outcome] { move_again(there, ask, outcome, 3); });
  }
  return change;
}

/// Sends a new state machine. `again` is called with the mutex held if somebody else was quicker.
void RedisBackend::send_state(std::vector<std::string> words, std::function<void()> again) {
  client_->run(tell_script, std::move(words),
               [this, again = std::move(again)](const Result<RedisReply>& reply) {
                 if (!reply) return;
                 const auto told = redis_answers::read_told(*reply);
                 if (!told || told->version < 0) return;
                 const std::scoped_lock lock(mutex_);
                 if ((told->value & 2) != 0) {
                   state_version_ = std::max(state_version_, told->version);
                 } else {
                   adopt(told->version, told->state);
                   if (again) again();
                 }
               });
}

void RedisBackend::move_again(Granted grant, Ask ask, const Outcome& outcome, int tries) {
  auto words = tell(Instant{} - offset_ + grant.at.time_since_epoch(), "settle");
  const auto rest = empty_settle({});
  words.insert(words.end(), rest.begin(), rest.end());
  const Instant now = options_.callers_time ? grant.at : instant_of(server_time(steady_.now()));
  (void)move_state(now, grant, ask, outcome, words);
  if (words[made_of].empty()) return;
  if (tries <= 1) {
    send_state(std::move(words), nullptr);
  } else {
    send_state(std::move(words),
               [this, grant, ask, outcome, tries] { move_again(grant, ask, outcome, tries - 1); });
  }
}

void RedisBackend::begin_probe(Instant now) {
  (void)mirror_.state().gate(now);
  mirror_.state().begin_probe(now);
  auto words = tell(now - offset_, "settle");
  const auto rest = empty_settle({});
  words.insert(words.end(), rest.begin(), rest.end());
  auto state = words_of(mirror_.state(), now);
  words[made_of] = std::to_string(state_version_);
  words[state_bytes] = std::move(state[0]);
  std::move(state.begin() + 1, state.begin() + 6, words.begin() + hold);
  words[share_from] = std::move(state[6]);
  send_state(std::move(words), nullptr);
}

/// Takes so much from the levels, for calls that went without asking.
void RedisBackend::charge(const Ask& ask) {
  auto words = tell(Instant{}, "settle");
  const auto rest = empty_settle({});
  words.insert(words.end(), rest.begin(), rest.end());
  std::vector<std::string> amounts;
  push(amounts, {-ask.requests, -ask.input_tokens, -ask.output_tokens, -ask.micros});
  std::copy(amounts.begin(), amounts.end(), words.begin() + given_back);
  words[theirs_too] = flag(true);
  client_->run(tell_script, std::move(words), nullptr);
}

/// What the response says of the provider's levels: {unit, period µs, limit or 0, left or null}.
std::string RedisBackend::corrections(const Outcome& outcome, Duration age,
                                      bool state_believed) const {
  std::string all;
  const auto add = [&](QuotaUnit unit, Duration period, std::int64_t limit,
                       std::optional<std::int64_t> left) {
    all += fmt::format("{}[{},{},{},{}]", all.empty() ? "" : ",", static_cast<int>(unit),
                       duration_cast<microseconds>(period).count(), limit,
                       left ? std::to_string(*left) : "null");
  };
  const auto minute = std::chrono::minutes(1);
  const bool rejected = outcome.kind == Outcome::Kind::rejected;
  for (const auto& header : outcome.signal.headers) {
    const auto unit = unit_of(header.dimension);
    if (!unit) continue;
    const Duration period = period_of(header).value_or(minute);
    std::optional<std::int64_t> left;
    if (header.remaining && header.limit) {
      const double refilled = rejected ? 0.0
                                       : static_cast<double>(*header.limit) *
                                             std::chrono::duration<double>(age).count() /
                                             std::chrono::duration<double>(period).count();
      left = *header.remaining - mirror_.remaining_rounded_by() +
             static_cast<std::int64_t>(std::min(refilled, 1e15));
    }
    add(*unit, period, header.limit.value_or(0), left);
  }
  if (state_believed && outcome.signal.state) {
    const QuotaState& state = *outcome.signal.state;
    const QuotaUnit guess = state.requested > 1 ? QuotaUnit::tokens : QuotaUnit::requests;
    add(unit_of(state.dimension).value_or(guess), minute, state.limit, state.limit - state.used);
  }
  return all.empty() ? all : "[" + all + "]";
}

}  // namespace moderato
