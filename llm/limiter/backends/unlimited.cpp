#include <moderato/llm/limiter/backends/unlimited.hpp>

#include <limits>

namespace moderato {

Admission UnlimitedBackend::try_acquire(Instant now, const Ask&, const Ticket& ticket,
                                        const NextInLine*) {
  ++in_flight_;
  if (!ticket.retry) {
    const std::scoped_lock lock(mutex_);
    retries_.count_first_attempt();
  }
  return Granted{.id = ++granted_, .at = now};
}

std::optional<KeyChange> UnlimitedBackend::settle(Instant, const Granted&, const Ask&,
                                                  const Outcome&) {
  --in_flight_;
  return std::nullopt;
}

KeySnapshot UnlimitedBackend::snapshot(Instant) const {
  constexpr double unlimited = std::numeric_limits<double>::infinity();
  return {.state = "open",
          .requests_left = unlimited,
          .tokens_left = unlimited,
          .in_flight = in_flight_.load()};
}

}  // namespace moderato
