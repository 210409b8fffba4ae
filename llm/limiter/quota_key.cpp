#include <moderato/llm/limiter/quota_key.hpp>

#include <fmt/format.h>

#include <limits>
#include <utility>

namespace moderato {
namespace {

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

/// For the retry budget: requests a second, as far as they are stated.
double requests_per_second(const QuotaRules& rules) noexcept {
  double rate = 0;
  for (const auto& rule : rules.dimensions) {
    if (rule.unit != QuotaUnit::requests) continue;
    const double stated =
        static_cast<double>(rule.limit) / std::chrono::duration<double>(rule.period).count();
    rate = rate > 0 ? std::min(rate, stated) : stated;
  }
  return rate;
}

}  // namespace

QuotaKey::QuotaKey(const QuotaRules& rules)
    : settings_{.bursts = rules.bursts,
                .safety = rules.safety,
                .max_hold = rules.max_hold,
                .adaptive = rules.max_slots > 0,
                .basis = rules.profile.basis,
                .settles = rules.profile.settles,
                .requests_per_rejection = rules.profile.requests_per_rejection,
                .output_weight = rules.profile.output_weight,
                .cached_input_is_free = rules.profile.cached_input_is_free,
                .bare_rejection = rules.profile.bare_rejection,
                .remaining_rounded_by = rules.profile.remaining_rounded_by},
      in_flight_(rules.slots, rules.max_slots),
      state_(rules.max_hold),
      retries_(requests_per_second(rules)) {
  for (const auto& rule : rules.dimensions) {
    if (dimension_count_ < max_quota_dimensions) {
      dimensions_[dimension_count_++] = QuotaDimension(rule);
    }
  }
}

void QuotaKey::tighten(const QuotaRules& rules) noexcept {
  for (const auto& rule : rules.dimensions) {
    const auto all = dimensions();
    const auto same = std::find_if(all.begin(), all.end(), [&](const QuotaDimension& dimension) {
      return dimension.rule().unit == rule.unit && dimension.period() == rule.period;
    });
    if (same != all.end()) {
      same->tighten(rule.limit);
    } else if (dimension_count_ < max_quota_dimensions) {
      dimensions_[dimension_count_++] = QuotaDimension(rule);
    }
  }
  in_flight_.tighten(rules.slots);
}

Ask QuotaKey::weigh(const Ask& ask) const noexcept {
  Ask weighed = ask;
  weighed.output_tokens *= settings_.output_weight;
  if (settings_.basis == ChargeBasis::input_only) weighed.output_tokens = 0;
  if (settings_.basis == ChargeBasis::max_of_both) {
    weighed.output_tokens = std::max<std::int64_t>(ask.output_tokens - ask.input_tokens, 0);
  }
  return weighed;
}

Duration QuotaKey::dominant_share(const Ask& ask) const noexcept {
  const Ask weighed = weigh(ask);
  Duration longest{1};
  for (const auto& dimension : dimensions()) {
    longest = std::max(longest, dimension.cost(weighed));
  }
  return longest;
}

Admission QuotaKey::try_acquire(Instant now, const Ask& asked, const QueuedAhead& before,
                                bool retry, Duration horizon) {
  now = forward(now);
  const KeyState::Gate gate = state_.gate(now);
  if (gate == KeyState::Gate::refuse) return Refused{state_.refusal(now)};
  if (state_.take_reopened()) {
    for (auto& dimension : dimensions()) dimension.drain(now);
  }
  const Ask ask = weigh(asked);
  const int share = state_.share(now);
  Duration wait{};
  const char* reason = "";
  std::array<Duration, max_quota_dimensions> costs;  // of the dimensions
  std::size_t count = 0;
  for (const auto& dimension : dimensions()) {
    if (dimension.never_fits(ask)) return Refused{too_large(dimension, ask)};
    costs[count] = dimension.cost(ask);
    const Duration ahead = before.calls > 0 ? dimension.cost(weigh(before.cost)) : Duration{};
    const Duration needed = dimension.wait(now, costs[count++], ahead, share);
    if (needed <= wait) continue;
    wait = needed;
    reason = to_string(dimension.rule().unit);
  }
  if (governor_.active()) {
    const Duration needed = governor_.wait(now, ask.requests, before.cost.requests);
    if (needed > wait) {
      wait = needed;
      reason = "requests";
    }
  }
  if (gate == KeyState::Gate::wait) {
    return MustWait{.until = state_.held_until(now), .reason = state_.name(now), .held = true};
  }
  if (in_flight_.full(before.calls)) return MustWait{Instant::max(), "in_flight"};
  if (wait > horizon) return MustWait{now + wait, reason};

  const Instant leaves = now + wait;
  for (std::size_t i = 0; i < count; ++i) dimensions_[i].take(leaves, costs[i], share, wait);
  governor_.take(leaves, ask.requests, wait);
  in_flight_.take();
  if (gate == KeyState::Gate::probe) state_.begin_probe(now);
  if (!retry) retries_.count_first_attempt();
  charged_ += ask;
  return Granted{.id = ++newest_id_,
                 .epoch = state_.epoch(),
                 .at = leaves,
                 .charged = charged_,
                 .start = leaves};
}

/// What an attempt that took `ask` (weighed) is charged in the end.
Ask QuotaKey::charge_for(const Ask& ask, const Outcome& outcome) const noexcept {
  const std::int64_t cached = settings_.cached_input_is_free ? outcome.cached_input_tokens : 0;
  Ask used = weigh({.requests = ask.requests,
                    .input_tokens = outcome.input_tokens - cached,
                    .output_tokens = outcome.output_tokens,
                    .micros = outcome.micros});
  switch (outcome.kind) {
    case Outcome::Kind::succeeded:
      if (outcome.input_tokens + outcome.output_tokens == 0) return ask;
      if (outcome.micros == 0) used.micros = ask.micros;
      if (settings_.settles ==
          Settles::no) {  // what was reserved is gone, and more if more was used
        used.input_tokens = std::max(used.input_tokens, ask.input_tokens);
        used.output_tokens = std::max(used.output_tokens, ask.output_tokens);
      }
      return used;
    case Outcome::Kind::failed:
      return used;
    case Outcome::Kind::rejected:
      return {.requests = ask.requests * settings_.requests_per_rejection};
    case Outcome::Kind::not_sent:
      return {.requests = 0};
    case Outcome::Kind::unknown:
      break;
  }
  return ask;
}

std::optional<KeyChange> QuotaKey::settle(Instant now, const Granted& grant, const Ask& asked,
                                          const Outcome& outcome) {
  now = forward(now);
  const Ask ask = weigh(asked);
  const Ask actual = charge_for(ask, outcome);
  const Ask given_back = difference(ask, actual);
  const Ask since = difference(charged_, grant.charged);
  const bool succeeded = outcome.kind == Outcome::Kind::succeeded;
  const bool sent = outcome.kind != Outcome::Kind::not_sent;
  const bool theirs_too = settings_.settles != Settles::unknown || !succeeded;
  for (auto& dimension : dimensions()) dimension.settle(now, ask, actual, grant.at, theirs_too);
  charged_ -= given_back;
  if (succeeded) {
    unused_ += (static_cast<double>(given_back.tokens()) - unused_) / 64;
    in_flight_.grow();
    if (settings_.adaptive) governor_.succeeded(now);
  } else if (!sent) {
    governor_.give_back(now, grant.at, ask.requests);
  }
  in_flight_.release(sent ? std::max(now - grant.at, Duration::zero()) : Duration(-1));
  if (outcome.kind == Outcome::Kind::rejected) ++rejections_;
  if (!outcome.signal.headers.empty()) learn(now, grant, outcome, since, given_back);
  return move_state(now, grant, outcome, since);
}

// "Cost ahead ÷ rate, and of all limits the longest" is too short as soon as the limits take turns:
// while a call waits for tokens the bucket of requests fills up, and what flows over is lost to the
// calls behind. So every queued call leaves a note of how long each limit will have stood full when
// it goes. The notes are exact while the calls go in the order in which they came; where they do
// not, notes add up that belong to another order, so they never lengthen an estimate by more than a
// quarter and a second.
WaitEstimate QuotaKey::expected_wait(Instant now, const Ask& asked,
                                     const QueuedAhead& ahead) const {
  now = std::max(now, latest_);
  const Ask ask = weigh(asked);
  const Ask cost_ahead = weigh(ahead.cost);
  const Instant start = state_.held_until(now);
  const int share = state_.share(now);
  WaitEstimate estimate{.at_least = start - now,
                        .reason = start > now ? state_.name(now) : "",
                        .size = dominant_share(asked)};
  Duration by_cost = estimate.at_least;  // without the notes
  for (std::size_t i = 0; i < dimensions().size(); ++i) {
    const auto& dimension = dimensions_[i];
    const Duration cost = dimension.cost(ask);
    const Duration before = dimension.cost(cost_ahead);
    const Duration wait = start - now + dimension.wait(start, cost, before + ahead.idle[i], share);
    by_cost = std::max(by_cost, start - now + dimension.wait(start, cost, before, share));
    if (wait <= estimate.at_least) continue;
    estimate.at_least = wait;
    estimate.reason = to_string(dimension.rule().unit);
  }
  estimate.at_least = std::min(estimate.at_least, by_cost + by_cost / 4 + std::chrono::seconds(1));
  if (const Duration paced = governor_.wait(start, ask.requests, ahead.cost.requests);
      start - now + paced > estimate.at_least) {
    estimate.at_least = start - now + paced;
    estimate.reason = "requests";
  }
  for (std::size_t i = 0; i < dimensions().size(); ++i) {
    const Duration before = dimensions_[i].cost(cost_ahead) + ahead.idle[i];
    estimate.idle[i] = dimensions_[i].idle(now + estimate.at_least, before);
  }
  // As many calls end meanwhile as go before this one, and give back what they did not use.
  const Ask back{.requests = 0,
                 .output_tokens = std::llround(unused_ * static_cast<double>(ahead.calls))};
  Duration earlier{};
  for (const auto& dimension : dimensions()) {
    if (dimension.rule().unit == QuotaUnit::tokens) earlier = dimension.cost(back);
  }
  estimate.expected = std::max(estimate.at_least - earlier, start - now);
  const Duration slot = in_flight_.expected_wait(ahead.calls);
  if (slot > estimate.expected || (estimate.at_least == Duration{} && in_flight_.full())) {
    estimate.expected = slot;
    estimate.reason = "in_flight";
  }
  return estimate;
}

KeySnapshot QuotaKey::snapshot(Instant now) const {
  now = std::max(now, latest_);
  const Instant held = state_.held_until(now);
  const std::string_view state = state_.name(now);
  KeySnapshot snapshot{.state = std::string(state),
                       .why = state == "open" ? std::string() : std::string(state_.why()),
                       .until = held > now ? held : Instant{},
                       .in_flight = in_flight_.count(),
                       .max_in_flight = in_flight_.slots(),
                       .retries_left = retries_.left(),
                       .granted = newest_id_,
                       .rejections = rejections_};
  for (const auto& dimension : dimensions()) {
    const auto& rule = dimension.rule();
    const bool requests = rule.unit == QuotaUnit::requests;
    if (rule.unit != QuotaUnit::micros) {
      double& left = requests ? snapshot.requests_left : snapshot.tokens_left;
      left = std::min(left, static_cast<double>(dimension.level(now)));
    }
    snapshot.dimensions.push_back({.name = rule.name.str(),
                                   .limit = dimension.limit(),
                                   .period = dimension.period(),
                                   .level = dimension.level(now),
                                   .learnt = rule.learnt,
                                   .foreign_rate = dimension.foreign_rate()});
  }
  return snapshot;
}

std::string QuotaKey::describe() const {
  std::string text = settings_.adaptive ? "learning, " : "";
  for (const auto& dimension : dimensions()) text += dimension.describe() + ", ";
  if (governor_.active()) text += fmt::format("found {:.1f} requests/s, ", governor_.rate());
  if (in_flight_.slots() == 0) return text + "any number in flight";
  if (!settings_.adaptive) return text + fmt::format("{} in flight", in_flight_.slots());
  return text +
         fmt::format("{} of at most {} in flight", in_flight_.slots(), in_flight_.max_slots());
}

}  // namespace moderato
