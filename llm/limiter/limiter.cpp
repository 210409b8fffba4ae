#include <moderato/llm/limiter/limiter.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <stdexcept>
#include <utility>

#include <moderato/llm/limiter/limiter_core.hpp>

namespace moderato {

Permit::Permit(PermitPart part, Duration waited, const Clock& clock, Observer observer)
    : part_(std::move(part)), waited_(waited), clock_(&clock), observer_(std::move(observer)) {}

Permit& Permit::operator=(Permit&& other) noexcept {
  if (this == &other) return *this;
  settle({.kind = Outcome::Kind::not_sent});
  part_ = std::move(other.part_);
  more_ = std::move(other.more_);
  waited_ = other.waited_;
  choice_ = other.choice_;
  clock_ = other.clock_;
  observer_ = std::move(other.observer_);
  return *this;
}

Permit::~Permit() {
  if (part_.owner != nullptr) settle({.kind = Outcome::Kind::not_sent});
}

void Permit::settle(const Outcome& outcome) {
  if (part_.owner == nullptr) return;
  const PermitPart part = std::move(part_);
  part_.owner = nullptr;
  part.owner->settle(part, *clock_, observer_, outcome);
  for (const PermitPart& other : std::exchange(more_, {})) {
    other.owner->settle(other, *clock_, observer_, outcome);
  }
}

void Permit::join(Permit other) {
  if (!other) return;
  waited_ += other.waited_;
  more_.push_back(std::move(other.part_));
  std::move(other.more_.begin(), other.more_.end(), std::back_inserter(more_));
  other.part_.owner = nullptr;
  other.more_.clear();
}

Result<Permit> Limiter::acquire(const Ask& ask, const CallContext& context, const Clock& clock,
                                const std::function<void(const QueuedNotice&)>& queued) {
  return core_->acquire(ask, context, clock, queued);
}

bool Limiter::take_retry(Instant now) {
  return core_->take_retry(now);
}

Duration Limiter::expected_wait(Instant now, const Ask& ask) const {
  return core_->expected_wait(now, ask);
}

LimiterSnapshot Limiter::snapshot(Instant now) const {
  return core_->snapshot(now);
}

std::string Limiter::describe() const {
  return core_->describe();
}

}  // namespace moderato
