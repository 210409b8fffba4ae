#include <moderato/llm/limiter/quota_key.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

// What a response says, and when it was true
//
// "47 requests remaining" was true when the provider looked, which may be half a minute ago: a
// streamed answer carries its headers at the front and is settled at its end. Writing 47 into the
// bucket would forget what has been granted since and what has been refilled since. So every grant
// remembers the sum of all charges at its instant, and the level that the header proves now is
//
//   min(limit, remaining + refilled since the grant) − charged since the grant
//
// Only lowering by it is safe in every reading (a provider may look at the start or at the end), so
// only that is done at once; time gives back what was lowered too far. After a refusal nothing is
// added for refills: it is answered at once.

namespace moderato {
namespace {

/// What an attempt that took `ask` is charged in the end.
Ask charge_for(const Ask& ask, const Outcome& outcome) noexcept {
  const Ask used{ask.requests, outcome.input_tokens, outcome.output_tokens};
  switch (outcome.kind) {
    case Outcome::Kind::succeeded:
      return used.tokens() > 0 ? used : ask;
    case Outcome::Kind::failed:
      return used;
    case Outcome::Kind::rejected:
      return {.requests = ask.requests};
    case Outcome::Kind::not_sent:
      return {.requests = 0};
    case Outcome::Kind::unknown:
      break;
  }
  return ask;
}

Error too_large(const QuotaDimension& dimension, const Ask& ask) {
  const QuotaUnit unit = dimension.rule().unit;
  return {.code = ErrorCode::too_large,
          .message = fmt::format("the call needs {} {} and the quota is {}: shorten the prompt or "
                                 "lower the output cap",
                                 amount(ask, unit), to_string(unit), dimension.describe())};
}

Ask difference(Ask left, const Ask& right) noexcept {
  return left -= right;
}

}  // namespace

QuotaKey::QuotaKey(QuotaRules rules)
    : rules_(std::move(rules)),
      in_flight_(rules_.slots, rules_.max_slots),
      state_(rules_.max_hold) {
  dimensions_.reserve(max_quota_dimensions);
  for (auto& rule : rules_.dimensions) dimensions_.emplace_back(std::move(rule));
  rules_.dimensions.clear();
}

Admission QuotaKey::try_acquire(Instant now, const Ask& ask) {
  now = forward(now);
  const KeyState::Gate gate = state_.gate(now);
  if (gate == KeyState::Gate::refuse) return Refused{state_.refusal(now)};
  Duration wait{};
  const char* reason = "";
  std::array<Duration, max_quota_dimensions> costs;  // of the dimensions
  std::size_t count = 0;
  for (const auto& dimension : dimensions_) {
    if (dimension.never_fits(ask)) return Refused{too_large(dimension, ask)};
    costs[count] = dimension.cost(ask);
    const Duration needed = dimension.wait(now, costs[count++]);
    if (needed <= wait) continue;
    wait = needed;
    reason = to_string(dimension.rule().unit);
  }
  if (gate == KeyState::Gate::wait) return MustWait{state_.held_until(now), "paused"};
  if (in_flight_.full()) return MustWait{Instant::max(), "in_flight"};
  if (wait > Duration::zero()) return MustWait{now + wait, reason};

  for (std::size_t i = 0; i < count; ++i) dimensions_[i].take(now, costs[i]);
  in_flight_.take();
  if (gate == KeyState::Gate::trial) state_.begin_trial(now);
  charged_ += ask;
  return Granted{++newest_id_, state_.epoch(), now, charged_};
}

std::optional<KeyChange> QuotaKey::settle(Instant now, const Granted& grant, const Ask& ask,
                                          const Outcome& outcome) {
  now = forward(now);
  const Ask actual = charge_for(ask, outcome);
  const Ask given_back = difference(ask, actual);
  const Ask since = difference(charged_, grant.charged);
  for (auto& dimension : dimensions_) dimension.settle(now, ask, actual, grant.at);
  charged_ -= given_back;
  if (outcome.kind == Outcome::Kind::succeeded) in_flight_.grow();
  const bool sent = outcome.kind != Outcome::Kind::not_sent;
  in_flight_.release(sent ? now - grant.at : Duration(-1));
  if (!outcome.signal.headers.empty()) learn(now, grant, outcome, since, given_back);
  return move_state(now, grant, outcome, since);
}

void QuotaKey::learn(Instant now, const Granted& grant, const Outcome& outcome, const Ask& since,
                     const Ask& given_back) {
  const bool succeeded = outcome.kind == Outcome::Kind::succeeded;
  const bool rejected = outcome.kind == Outcome::Kind::rejected;
  for (const auto& header : outcome.signal.headers) {
    QuotaDimension* dimension = find_or_add(now, header);
    if (dimension == nullptr) continue;
    dimension->adopt(header);
    if (!header.remaining) continue;
    const QuotaUnit unit = dimension->rule().unit;
    const Duration age = rejected ? Duration{} : now - grant.at;
    std::int64_t left = std::min(dimension->limit(), *header.remaining + dimension->refilled(age));
    left -= amount(since, unit);
    if (succeeded) left += amount(given_back, unit);
    dimension->lower_to(now, left);
  }
}

std::optional<KeyChange> QuotaKey::move_state(Instant now, const Granted& grant,
                                              const Outcome& outcome, const Ask& since) {
  switch (outcome.kind) {
    case Outcome::Kind::succeeded:
      return state_.succeeded(now, grant.epoch);
    case Outcome::Kind::not_sent:
      state_.not_sent(now, grant.epoch);
      return std::nullopt;
    case Outcome::Kind::unknown:
      return std::nullopt;
    default:
      break;
  }
  const auto& hint = outcome.signal.retry_after;
  if (outcome.error == ErrorCode::quota_exhausted) {
    return state_.out_of_quota(now, grant.epoch, outcome.why);
  }
  if (outcome.error == ErrorCode::too_large) return std::nullopt;  // says nothing about the others
  if (outcome.kind == Outcome::Kind::rejected) {
    if (const auto lasting = correct(now, outcome.signal, since)) {
      return state_.corrected(now, *lasting, outcome.why);
    }
  } else if (outcome.error != ErrorCode::overloaded) {
    return std::nullopt;
  }
  in_flight_.cut(grant.id, newest_id_);
  if (outcome.kind == Outcome::Kind::failed && !hint) return std::nullopt;
  return state_.told_to_wait(now, grant.epoch, hint, outcome.why);
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
  if (by_law > rules_.max_hold) return std::nullopt;
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
  for (auto& dimension : dimensions_) {
    const auto& rule = dimension.rule();
    if (rule.name != header.dimension || header.limit != dimension.limit()) continue;
    if (!period || *period <= rule.period || rule.learnt) return &dimension;
  }
  for (auto& dimension : dimensions_) {
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
  for (auto& dimension : dimensions_) {
    if (dimension.rule().unit != unit || dimension.period() != minute) continue;
    if (found == nullptr || dimension.limit() == state.limit) found = &dimension;
  }
  return found != nullptr ? found : add(now, to_string(unit), unit, state.limit, minute);
}

QuotaDimension* QuotaKey::add(Instant now, std::string name, QuotaUnit unit, std::int64_t limit,
                              Duration period) {
  if (limit < 1 || dimensions_.size() >= max_quota_dimensions) return nullptr;
  auto& added = dimensions_.emplace_back(QuotaDimension::Rule{.name = std::move(name),
                                                              .unit = unit,
                                                              .limit = limit,
                                                              .period = period,
                                                              .burst = rules_.bursts.of(unit),
                                                              .safety = rules_.safety,
                                                              .learnt = true});
  added.take(now, {});  // full from now on: calls under way were never charged to it
  return &added;
}

// "Cost ahead ÷ rate, and of all limits the longest" is too short as soon as the limits take turns:
// while a call waits for tokens the bucket of requests fills up, and what flows over is lost to the
// calls behind. So every queued call leaves a note of how long each limit will have stood full when
// it goes.
WaitEstimate QuotaKey::expected_wait(Instant now, const Ask& ask, const QueuedAhead& ahead) const {
  now = std::max(now, latest_);
  const Instant start = state_.held_until(now);
  WaitEstimate estimate{.at_least = start - now, .reason = start > now ? "paused" : ""};
  for (std::size_t i = 0; i < dimensions_.size(); ++i) {
    const auto& dimension = dimensions_[i];
    const Duration before = dimension.cost(ahead.cost) + ahead.idle[i];
    const Duration wait = start - now + dimension.wait(start, dimension.cost(ask), before);
    if (wait <= estimate.at_least) continue;
    estimate.at_least = wait;
    estimate.reason = to_string(dimension.rule().unit);
  }
  for (std::size_t i = 0; i < dimensions_.size(); ++i) {
    const Duration before = dimensions_[i].cost(ahead.cost) + ahead.idle[i];
    estimate.idle[i] = dimensions_[i].idle(now + estimate.at_least, before);
  }
  estimate.expected = estimate.at_least;
  const Duration slot = in_flight_.expected_wait(ahead.calls);
  if (slot > estimate.expected || (estimate.at_least == Duration{} && in_flight_.full())) {
    estimate.expected = slot;
    estimate.reason = "in_flight";
  }
  return estimate;
}

KeySnapshot QuotaKey::snapshot(Instant now) const {
  now = std::max(now, latest_);
  constexpr double unlimited = std::numeric_limits<double>::infinity();
  const Instant held = state_.held_until(now);
  KeySnapshot snapshot{.state = state_.name(now),
                       .until = held > now ? held : Instant{},
                       .requests_left = unlimited,
                       .tokens_left = unlimited,
                       .in_flight = in_flight_.count(),
                       .max_in_flight = in_flight_.slots()};
  for (const auto& dimension : dimensions_) {
    const bool requests = dimension.rule().unit == QuotaUnit::requests;
    double& left = requests ? snapshot.requests_left : snapshot.tokens_left;
    left = std::min(left, static_cast<double>(dimension.level(now)));
  }
  return snapshot;
}

std::string QuotaKey::describe() const {
  std::string text = rules_.max_slots > 0 ? "learning, " : "";
  for (const auto& dimension : dimensions_) text += dimension.describe() + ", ";
  if (in_flight_.slots() == 0) return text + "any number in flight";
  if (rules_.max_slots == 0) return text + fmt::format("{} in flight", in_flight_.slots());
  return text + fmt::format("{} of at most {} in flight", in_flight_.slots(), rules_.max_slots);
}

}  // namespace moderato
