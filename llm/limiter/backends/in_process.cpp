#include <moderato/llm/limiter/backends/in_process.hpp>

namespace moderato {

Admission InProcessBackend::try_acquire(Instant now, const Ask& ask) {
  const std::scoped_lock lock(mutex_);
  return key_.try_acquire(now, ask);
}

std::optional<KeyChange> InProcessBackend::settle(Instant now, const Granted& grant, const Ask& ask,
                                                  const Outcome& outcome) {
  const std::scoped_lock lock(mutex_);
  return key_.settle(now, grant, ask, outcome);
}

WaitEstimate InProcessBackend::expected_wait(Instant now, const Ask& ask,
                                             const QueuedAhead& ahead) const {
  const std::scoped_lock lock(mutex_);
  return key_.expected_wait(now, ask, ahead);
}

KeySnapshot InProcessBackend::snapshot(Instant now) const {
  const std::scoped_lock lock(mutex_);
  return key_.snapshot(now);
}

std::string InProcessBackend::describe() const {
  const std::scoped_lock lock(mutex_);
  return "in_process, " + key_.describe();
}

}  // namespace moderato
