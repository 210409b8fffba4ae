#include <moderato/llm/limiter/key_state.hpp>

#include <algorithm>
#include <chrono>

namespace moderato {
namespace {

constexpr Duration between_trials = std::chrono::minutes(10);
constexpr Duration first_pause = std::chrono::seconds(1);
constexpr Duration longest_pause = std::chrono::seconds(60);

}  // namespace

KeyState::Gate KeyState::gate(Instant now) noexcept {
  if (phase_ == Phase::open) return Gate::go;
  if (phase_ == Phase::corrected) {
    if (now >= until_) phase_ = Phase::open;
    return Gate::go;
  }
  if (now < until_) return phase_ == Phase::paused ? Gate::wait : Gate::refuse;
  if (phase_ == Phase::closed && billing_) return Gate::trial;
  phase_ = Phase::open;
  tell_reopened_ = true;
  ++epoch_;
  return Gate::go;
}

void KeyState::begin_trial(Instant now) noexcept {
  ++epoch_;
  until_ = now + between_trials;
}

KeyChange KeyState::change(Phase phase, Instant now, Instant until, const std::string& why) {
  phase_ = phase;
  until_ = until;
  why_ = why;
  if (phase != Phase::corrected) {
    ++epoch_;
    tell_reopened_ = false;
  }
  return {.state = name(now), .lasting = std::max(until - now, Duration::zero()), .why = why};
}

std::optional<KeyChange> KeyState::succeeded(Instant now, std::uint64_t epoch) {
  if (epoch != epoch_) return std::nullopt;
  refusals_in_a_row_ = 0;
  if (phase_ == Phase::closed) return change(Phase::open, now, now, "the trial call succeeded");
  if (!tell_reopened_) return std::nullopt;
  tell_reopened_ = false;
  return KeyChange{.state = "open", .lasting = {}, .why = "calls succeed again"};
}

std::optional<KeyChange> KeyState::told_to_wait(Instant now, std::uint64_t epoch,
                                                std::optional<Duration> hint,
                                                const std::string& why) {
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
  Duration pause = hint.value_or(Duration::zero());
  if (pause <= Duration::zero()) {
    pause = std::min(first_pause * (1 << std::min(refusals_in_a_row_, 6)), longest_pause);
    pause = std::min(pause, std::max(max_hold_, first_pause));
    ++refusals_in_a_row_;
  }
  return change(Phase::paused, now, now + pause, why);
}

std::optional<KeyChange> KeyState::corrected(Instant now, Duration lasting,
                                             const std::string& why) {
  if (phase_ == Phase::paused || phase_ == Phase::closed) return std::nullopt;
  return change(Phase::corrected, now, now + lasting, why);
}

std::optional<KeyChange> KeyState::out_of_quota(Instant now, std::uint64_t epoch,
                                                const std::string& why) {
  if (epoch != epoch_) return std::nullopt;
  billing_ = true;
  return change(Phase::closed, now, now + between_trials, why);
}

void KeyState::not_sent(Instant now, std::uint64_t epoch) noexcept {
  if (phase_ == Phase::closed && epoch == epoch_) until_ = now;
}

Instant KeyState::held_until(Instant now) const noexcept {
  const bool holds = phase_ == Phase::paused || phase_ == Phase::closed;
  return holds ? std::max(until_, now) : now;
}

Error KeyState::refusal(Instant now) const {
  return {.code = billing_ ? ErrorCode::quota_exhausted : ErrorCode::rate_limited,
          .message =
              billing_ ? "the provider refuses calls until somebody pays or raises a limit: " + why_
                       : "the provider asked for a longer wait than max_hold: " + why_,
          .retry_after = until_ - now};
}

const char* KeyState::name(Instant now) const noexcept {
  if (phase_ == Phase::open || (phase_ != Phase::closed && now >= until_)) return "open";
  switch (phase_) {
    case Phase::corrected:
      return "corrected";
    case Phase::paused:
      return "paused";
    default:
      return "closed";
  }
}

}  // namespace moderato
