#include <moderato/llm/limiter/in_flight.hpp>

#include <algorithm>

namespace moderato {

void InFlight::release(Duration held) noexcept {
  if (count_ > 0) --count_;
  if (held < Duration::zero()) return;
  mean_held_ = mean_held_ == Duration::zero() ? held : mean_held_ + (held - mean_held_) / 8;
}

// Growth counts only while the slots are the bottleneck: a client that uses two of its slots learns
// nothing about whether forty would be welcome. What counts is the most that was used since the
// round began, because the slots of a round come free one after the other.
void InFlight::grow() noexcept {
  if (!adaptive_) return;
  const bool used = most_used_ * 5 >= round_slots_ * 4;
  const bool doubling = cut_after_ == 0;
  if (used && doubling && slots_ < max_slots_) ++slots_;
  if (++successes_ < round_slots_) return;
  if (used && !doubling && slots_ < max_slots_) ++slots_;
  begin_round();
}

void InFlight::begin_round() noexcept {
  successes_ = 0;
  round_slots_ = slots_;
  most_used_ = count_ - 1;  // the one that has just succeeded is about to go
}

// One overload refuses many calls at once, and each of them says the same thing. Halving once a
// refusal would end at one slot after every hiccup.
void InFlight::cut(std::uint64_t id, std::uint64_t newest_id) noexcept {
  if (!adaptive_ || id <= cut_after_) return;
  cut_after_ = newest_id;
  slots_ = std::max<std::int64_t>(1, slots_ / 2);
  begin_round();
}

Duration InFlight::expected_wait(std::size_t ahead) const noexcept {
  if (slots_ <= 0) return {};
  const std::int64_t short_of = count_ + static_cast<std::int64_t>(ahead) + 1 - slots_;
  return short_of > 0 ? mean_held_ * short_of / slots_ : Duration{};
}

}  // namespace moderato
