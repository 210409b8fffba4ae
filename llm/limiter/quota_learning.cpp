#include <algorithm>

#include <moderato/llm/limiter/quota_key.hpp>

// What a response says, and when it was true
//
// "47 requests remaining" was true when the provider looked, which may be half a minute ago: a
// streamed answer carries its headers at the front and is settled at its end. Writing 47 into the
// bucket would forget what has been granted since and what has been refilled since. So every grant
// remembers the sum of all charges at its instant, and the level that the header proves now is
//
//   min(limit, remaining + refilled since the grant − charged since the grant)
//
// (The limit comes last. A bucket that refills 3,300 tokens a second while 3,000 are taken stays
// full; with the limit taken first, an answer of 100 s would prove a debt of 100,000.) Only
// lowering by it is safe in every reading (a provider may look at the start or at the end), so only
// that is done at once; time gives back what was lowered too far. After a refusal nothing is added
// for refills: it is answered at once.

//
// A response that shows more than we thought is not believed at once: it may be rounded, late, or
// of another machine of the provider. Three of them over five seconds give back a quarter of the
// difference, and so on (QuotaDimension::correct).

namespace moderato {
namespace {

constexpr std::int64_t fast_tokens_per_minute = 1'000'000;  // "slow down" is meant for these

bool about_concurrency(const Outcome& outcome) {
  return outcome.why.find("concurren") != std::string::npos ||
         (outcome.signal.state &&
          outcome.signal.state->dimension.find("concurren") != std::string::npos);
}

bool says_slow_down(const Outcome& outcome) {
  return outcome.why.find("slow_down") != std::string::npos ||
         outcome.why.find("Slow down") != std::string::npos ||
         outcome.why.find("cceleration limit") != std::string::npos;
}

}  // namespace

void QuotaKey::learn(Instant now, const Granted& grant, const Outcome& outcome, const Ask& since,
                     const Ask& given_back) {
  const bool returned =
      outcome.kind == Outcome::Kind::succeeded && settings_.settles == Settles::yes;
  const bool rejected = outcome.kind == Outcome::Kind::rejected;
  for (const auto& header : outcome.signal.headers) {
    QuotaDimension* dimension = find_or_add(now, header);
    if (dimension == nullptr) continue;
    dimension->adopt(header);
    if (!header.remaining) continue;
    const QuotaUnit unit = dimension->rule().unit;
    const std::int64_t remaining = *header.remaining - settings_.remaining_rounded_by;
    const Duration age = rejected ? Duration{} : std::max(now - grant.at, Duration::zero());
    std::int64_t left = remaining + dimension->refilled(age) - amount(since, unit);
    if (returned) left += amount(given_back, unit);
    dimension->correct(now, std::min(dimension->limit(), left));
    if (!rejected) {
      dimension->observe_others(grant.at, remaining, amount(grant.charged, unit));
    }
  }
}

std::optional<KeyChange> QuotaKey::move_state(Instant now, const Granted& grant,
                                              const Outcome& outcome, const Ask& since) {
  const Duration took = now - grant.at;
  const bool no_connection = outcome.error == ErrorCode::connection;
  switch (outcome.kind) {
    case Outcome::Kind::succeeded:
      return state_.succeeded(now, grant.epoch);
    case Outcome::Kind::not_sent:
      if (no_connection) return state_.failed(now, grant.epoch, outcome.why, took);
      state_.not_sent(now, grant.epoch);
      return std::nullopt;
    case Outcome::Kind::unknown:
      if (no_connection) return state_.failed(now, grant.epoch, outcome.why, took);
      return std::nullopt;
    default:
      break;
  }
  if (outcome.error == ErrorCode::quota_exhausted) {
    return state_.out_of_quota(now, grant.epoch, outcome.why);
  }
  if (outcome.error == ErrorCode::too_large) return std::nullopt;  // says nothing about the others
  if (outcome.kind == Outcome::Kind::rejected) {
    if (const auto lasting = correct(now, outcome.signal, since)) {
      return state_.corrected(now, grant.epoch, *lasting, outcome.why);
    }
    return this->rejected(now, grant, outcome);
  }
  if (outcome.error == ErrorCode::overloaded) {
    in_flight_.cut(grant.id, newest_id_);
    return state_.overloaded(now, grant.epoch, outcome.signal.retry_after, outcome.why, took);
  }
  if (outcome.error != ErrorCode::server_error) return std::nullopt;
  return state_.failed(now, grant.epoch, outcome.why, took);
}

/// A refusal without numbers: what kind is it?
std::optional<KeyChange> QuotaKey::rejected(Instant now, const Granted& grant,
                                            const Outcome& outcome) {
  const auto& hint = outcome.signal.retry_after;
  const Duration took = now - grant.at;
  if (about_concurrency(outcome) || !settings_.adaptive || knows_rates()) {
    in_flight_.cut(grant.id, newest_id_);
  }
  if (says_slow_down(outcome)) {
    const bool gentle = std::any_of(dimensions().begin(), dimensions().end(), [](const auto& d) {
      return d.rule().unit != QuotaUnit::requests && d.limit() > fast_tokens_per_minute;
    });
    return state_.slow_down(now, grant.epoch, gentle, outcome.why);
  }
  if (!hint && settings_.bare_rejection == BareRejection::close) {
    return state_.out_of_quota(now, grant.epoch, outcome.why);
  }
  auto change = state_.told_to_wait(now, grant.epoch, hint, outcome.why, took);
  if (change && settings_.adaptive && !knows_rates()) governor_.refused(now);
  return change;
}

// The provider's numbers are believed only if its own wait agrees with them. A real refusal was
// seen that named the limit of a minute and meant one of a month ("try again in 114h18m0s", where
// the law says 9.5 s): there the duration is right and the label is wrong.
std::optional<Duration> QuotaKey::correct(Instant now, const QuotaSignal& signal,
                                          const Ask& since) {
  if (!signal.state) return std::nullopt;
  const QuotaState& state = *signal.state;
  const std::int64_t missing = state.used + state.requested - state.limit;
  if (state.limit < 1 || missing <= 0) return std::nullopt;
  const Duration minute = std::chrono::minutes(1);
  const Duration by_law = Gcra(state.limit, minute, minute).cost(missing);
  if (by_law > settings_.max_hold) return std::nullopt;
  if (signal.retry_after && *signal.retry_after > 2 * by_law + std::chrono::seconds(1)) {
    return std::nullopt;
  }
  QuotaDimension* dimension = find_or_add(now, state);
  if (dimension == nullptr) return std::nullopt;
  dimension->adopt_limit(state.limit);
  dimension->lower_to(now, state.limit - state.used - amount(since, dimension->rule().unit));
  return by_law;
}

QuotaDimension* QuotaKey::find_or_add(Instant now, const QuotaHeader& header) {
  const auto unit = unit_of(header.dimension);
  if (!unit) return nullptr;
  const auto period = period_of(header);
  const Duration minute = std::chrono::minutes(1);
  // By its limit first: a short reset may belong to any period, and a learnt period may be wrong.
  for (auto& dimension : dimensions()) {
    const auto& rule = dimension.rule();
    if (!(rule.name == header.dimension) || header.limit != dimension.limit()) continue;
    if (!period || *period <= rule.period || rule.learnt) return &dimension;
  }
  for (auto& dimension : dimensions()) {
    const auto& rule = dimension.rule();
    if (rule.name == header.dimension && (!period || *period == rule.period)) return &dimension;
  }
  if (!header.limit) return nullptr;
  return add(now, header.dimension, *unit, *header.limit, period.value_or(minute));
}

QuotaDimension* QuotaKey::find_or_add(Instant now, const QuotaState& state) {
  const QuotaUnit guess = state.requested > 1 ? QuotaUnit::tokens : QuotaUnit::requests;
  const QuotaUnit unit = unit_of(state.dimension).value_or(guess);
  const Duration minute = std::chrono::minutes(1);
  QuotaDimension* found = nullptr;
  for (auto& dimension : dimensions()) {
    if (dimension.rule().unit != unit || dimension.period() != minute) continue;
    if (found == nullptr || dimension.limit() == state.limit) found = &dimension;
  }
  return found != nullptr ? found : add(now, to_string(unit), unit, state.limit, minute);
}

QuotaDimension* QuotaKey::add(Instant now, std::string_view name, QuotaUnit unit,
                              std::int64_t limit, Duration period) {
  if (limit < 1 || dimension_count_ >= max_quota_dimensions) return nullptr;
  auto& added = dimensions_[dimension_count_++];
  added = QuotaDimension({.name = name,
                          .unit = unit,
                          .limit = limit,
                          .period = period,
                          .burst = settings_.bursts.of(unit),
                          .safety = settings_.safety,
                          .learnt = true});
  added.take(now, {});  // full from now on: calls under way were never charged to it
  governor_.stop();
  in_flight_.open_all();
  return &added;
}

}  // namespace moderato
