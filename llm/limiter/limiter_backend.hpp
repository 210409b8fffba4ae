#pragma once

#include <optional>
#include <string>

#include <moderato/llm/limiter/ask.hpp>

namespace moderato {

/// A change of a quota key's state, for events.
struct KeyChange {
  std::string state{};  ///< "open", "corrected", "paused", "closed".
  Duration lasting{};   ///< Until it ends by itself; 0 if unknown or over.
  std::string why{};
};

/// Levels of a key, for people.
struct KeySnapshot {
  std::string state{};       ///< As in KeyChange.
  Instant until{};           ///< End of a pause or closure; Instant{} if there is none.
  double requests_left = 0;  ///< Could go at once; negative: debt; infinite: no limit.
  double tokens_left = 0;
  std::int64_t in_flight = 0;
  std::int64_t max_in_flight = 0;  ///< Slots; 0: no limit.
};

/// "Is there room, and where is that number kept": in this process, on this host, in a store. The
/// arithmetic is pure (time is a parameter) and the same everywhere. Never waits. Thread safe.
class LimiterBackend {
 public:
  virtual ~LimiterBackend() = default;
  /// Grants the whole ask at `now`, or says when to ask again, or that it is pointless.
  virtual Admission try_acquire(Instant now, const Ask& ask) = 0;
  /// Ends a grant: corrects the levels by what really happened and moves the key's state.
  /// Returns the change of state, if there was one.
  virtual std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                          const Outcome& outcome) = 0;
  /// How long `ask` would wait if the calls `ahead` go first. Never blocks: a backend that keeps
  /// its numbers elsewhere answers from what it heard last.
  [[nodiscard]] virtual WaitEstimate expected_wait(Instant now, const Ask& ask,
                                                   const QueuedAhead& ahead) const = 0;
  [[nodiscard]] virtual KeySnapshot snapshot(Instant now) const = 0;
  /// "in_process, 60 requests/min, 90000 tokens/min, 8 in flight".
  [[nodiscard]] virtual std::string describe() const = 0;
};

}  // namespace moderato
