#include <moderato/llm/limiter/key_state.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

// Coming back
//
// When a provider has been away for a minute, hundreds of calls wait. Let all of them go at its
// first sign of life and it is away again; let each find out for itself and the outage is a storm
// of attempts. So one call finds out for everybody, and what it finds opens the key at half the
// rate.
//
// How long must the others wait for it? A model's answer takes seconds, a refusal some
// milliseconds. The refusal that closed the key showed how fast this provider refuses: if the probe
// has not been refused after four times as long (at least 100 ms, at most 2 s), it has been let in,
// and there is no reason to wait for its last token. If that was wrong, its failure closes the key
// again.
//
// Half the rate, and a quarter more each second: after the probe a full rate is reached in two
// seconds, and the bucket, which has filled up meanwhile, counts as empty, because a provider that
// has just recovered does not owe anybody a burst.

namespace moderato {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration between_trials = std::chrono::minutes(10);
constexpr Duration first_pause = seconds(1);
constexpr Duration longest_pause = seconds(60);
constexpr Duration first_probe = milliseconds(500);
constexpr Duration longest_probe = milliseconds(3600);
constexpr Duration probe_lease = seconds(30);  // for a probe whose process has died
constexpr int failures_are_overload = 3;
constexpr int lowest_share = 100;

}  // namespace

KeyState::Gate KeyState::gate(Instant now) noexcept {
  switch (phase_) {
    case Phase::open:
      return Gate::go;
    case Phase::corrected:
      if (now >= until_) phase_ = Phase::open;
      return Gate::go;
    case Phase::paused:
    case Phase::overload:
      return now < until_ ? Gate::wait : Gate::probe;
    case Phase::probing:
      if (now < until_) return Gate::wait;
      if (answered_in_ == Duration::zero()) return Gate::probe;
      open_gently(now);
      return Gate::go;
    case Phase::closed:
      if (now < until_) return Gate::refuse;
      if (billing_) return Gate::probe;
      ++epoch_;
      open_gently(now);
      return Gate::go;
  }
  return Gate::go;
}

/// The epoch stays: the probe's own answer still counts.
void KeyState::open_gently(Instant now) noexcept {
  phase_ = Phase::open;
  tell_reopened_ = true;
  reopened_ = true;
  ramp_from_ = now;
  ramp_share_ = 500;
  ramp_per_second_ = 250'000;
}

void KeyState::begin_probe(Instant now) noexcept {
  ++epoch_;
  if (phase_ == Phase::closed) {
    until_ = now + between_trials;
    return;
  }
  phase_ = Phase::probing;
  const bool fast = answered_in_ > Duration::zero();
  until_ = now + (fast ? std::clamp<Duration>(4 * answered_in_, milliseconds(100), seconds(2))
                       : probe_lease);
}

std::optional<KeyState> KeyState::from_bytes(std::string_view bytes) {
  KeyState state;
  if (bytes.size() != sizeof(KeyState)) return std::nullopt;
  std::memcpy(static_cast<void*>(&state), bytes.data(), sizeof(KeyState));
  // Times that can be added and compared without overflow, and a byte that is a bool.
  constexpr Duration far = std::chrono::nanoseconds(std::int64_t{1} << 61);
  const auto near = [&](Duration time) { return time >= -far && time <= 2 * (far - Duration(1)); };
  const auto is_bool = [](const bool& flag) {
    return *reinterpret_cast<const unsigned char*>(&flag) <= 1;
  };
  const auto is_count = [](int number) { return number >= 0 && number < 1'000'000'000; };
  const bool sound = state.phase_ <= Phase::closed && is_bool(state.billing_) &&
                     is_bool(state.tell_reopened_) && is_bool(state.reopened_) &&
                     is_count(state.refusals_in_a_row_) && is_count(state.overloads_in_a_row_) &&
                     is_count(state.failures_in_a_row_) && is_count(state.ramp_share_) &&
                     is_count(state.ramp_per_second_) && state.max_hold_ >= Duration{} &&
                     near(state.max_hold_) && near(state.until_.time_since_epoch()) &&
                     near(state.answered_in_) && near(state.ramp_from_.time_since_epoch());
  if (!sound) return std::nullopt;
  return state;
}

KeyChange KeyState::change(Phase phase, Instant now, Instant until, std::string_view why) {
  phase_ = phase;
  until_ = until;
  why_ = why;
  if (phase != Phase::corrected) {
    ++epoch_;
    tell_reopened_ = false;
  }
  return {.state = name(now),
          .lasting = std::max(until - now, Duration::zero()),
          .why = std::string(why)};
}

std::optional<KeyChange> KeyState::succeeded(Instant now, std::uint64_t epoch) {
  if (epoch != epoch_) return std::nullopt;
  refusals_in_a_row_ = 0;
  overloads_in_a_row_ = 0;
  failures_in_a_row_ = 0;
  if (phase_ == Phase::closed || phase_ == Phase::probing) {
    const auto what = phase_ == Phase::closed ? "the trial call succeeded" : "calls succeed again";
    open_gently(now);
    return change(Phase::open, now, now, what);
  }
  if (!tell_reopened_) return std::nullopt;
  tell_reopened_ = false;
  return KeyChange{.state = name(now), .lasting = {}, .why = "calls succeed again"};
}

std::optional<KeyChange> KeyState::told_to_wait(Instant now, std::uint64_t epoch,
                                                std::optional<Duration> hint, std::string_view why,
                                                Duration took) {
  if (epoch != epoch_) {
    if (phase_ == Phase::paused && hint && *hint <= max_hold_) {
      until_ = std::max(until_, now + *hint);
    }
    return std::nullopt;
  }
  if (phase_ == Phase::closed) return std::nullopt;  // the trial failed; it stays closed
  if (hint && *hint > max_hold_) {
    billing_ = false;
    return change(Phase::closed, now, saturating_add(now, *hint), why);
  }
  answered_in_ = took;
  Duration pause = hint.value_or(Duration::zero());
  if (pause <= Duration::zero()) {
    pause = std::min(first_pause * (1 << std::min(refusals_in_a_row_, 6)), longest_pause);
    pause = std::min(pause, std::max(max_hold_, first_pause));
    ++refusals_in_a_row_;
  }
  return change(Phase::paused, now, now + pause, why);
}

std::optional<KeyChange> KeyState::corrected(Instant now, std::uint64_t epoch, Duration lasting,
                                             std::string_view why) {
  if (phase_ == Phase::probing && epoch == epoch_) open_gently(now);  // it answers, and precisely
  if (phase_ != Phase::open && phase_ != Phase::corrected) return std::nullopt;
  return change(Phase::corrected, now, now + lasting, why);
}

std::optional<KeyChange> KeyState::out_of_quota(Instant now, std::uint64_t epoch,
                                                std::string_view why) {
  if (epoch != epoch_) return std::nullopt;
  billing_ = true;
  return change(Phase::closed, now, now + between_trials, why);
}

std::optional<KeyChange> KeyState::overloaded(Instant now, std::uint64_t epoch,
                                              std::optional<Duration> hint, std::string_view why,
                                              Duration took) {
  if (epoch != epoch_ || phase_ == Phase::closed) return std::nullopt;
  if (hint && *hint > max_hold_) return told_to_wait(now, epoch, hint, why, took);
  answered_in_ = took;
  const Duration grown =
      std::min(first_probe * (1 << std::min(overloads_in_a_row_, 4)), longest_probe);
  ++overloads_in_a_row_;
  return change(Phase::overload, now, now + std::max(grown, hint.value_or(Duration::zero())), why);
}

std::optional<KeyChange> KeyState::failed(Instant now, std::uint64_t epoch, std::string_view why,
                                          Duration took) {
  if (epoch != epoch_) return std::nullopt;
  ++failures_in_a_row_;
  if (phase_ != Phase::probing && failures_in_a_row_ < failures_are_overload) return std::nullopt;
  return overloaded(now, epoch, std::nullopt, why, took);
}

std::optional<KeyChange> KeyState::slow_down(Instant now, std::uint64_t epoch, bool gentle,
                                             std::string_view why) {
  if (epoch != epoch_ || phase_ == Phase::closed) return std::nullopt;
  ramp_share_ = std::max(share(now) / 2, lowest_share);
  ramp_from_ = now;
  ramp_per_second_ = gentle ? ramp_share_ * 1000 / 2 / (15 * 60) : 100'000;
  reopened_ = true;
  return change(Phase::open, now, now, why);
}

void KeyState::not_sent(Instant now, std::uint64_t epoch) noexcept {
  const bool holds = phase_ == Phase::closed || phase_ == Phase::probing;
  if (!holds || epoch != epoch_) return;
  if (phase_ == Phase::probing) phase_ = Phase::overload;
  until_ = now;
}

int KeyState::share(Instant now) const noexcept {
  if (ramp_share_ >= 1000) return 1000;
  const auto passed = std::chrono::duration_cast<milliseconds>(now - ramp_from_).count();
  const std::int64_t grown =
      std::clamp<std::int64_t>(passed, 0, 10'000'000) * ramp_per_second_ / 1'000'000;
  return static_cast<int>(std::clamp<std::int64_t>(ramp_share_ + grown, ramp_share_, 1000));
}

bool KeyState::take_reopened() noexcept {
  const bool reopened = reopened_;
  reopened_ = false;
  return reopened;
}

Instant KeyState::held_until(Instant now) const noexcept {
  const bool holds = phase_ != Phase::open && phase_ != Phase::corrected;
  return holds ? std::max(until_, now) : now;
}

Error KeyState::refusal(Instant now) const {
  return {.code = billing_ ? ErrorCode::quota_exhausted : ErrorCode::rate_limited,
          .message = billing_
                         ? "the provider refuses calls until somebody pays or raises a limit: " +
                               why_.str()
                         : "the provider asked for a longer wait than max_hold: " + why_.str(),
          .retry_after = until_ - now};
}

const char* KeyState::name(Instant now) const noexcept {
  switch (phase_) {
    case Phase::paused:
      return "paused";
    case Phase::overload:
      return "overload";
    case Phase::probing:
      return "probing";
    case Phase::closed:
      return "closed";
    case Phase::corrected:
      if (now < until_) return "corrected";
      break;
    case Phase::open:
      break;
  }
  return share(now) < 1000 ? "ramp" : "open";
}

}  // namespace moderato
