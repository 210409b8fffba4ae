#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <moderato/llm/limiter/ask.hpp>
#include <moderato/llm/limiter/key_snapshot.hpp>

namespace moderato {

/// A change of a quota key's state, for events.
struct KeyChange {
  std::string state{};  ///< "open", "corrected", "paused", "probing", "overload", "ramp", "closed".
  Duration lasting{};   ///< Until it ends by itself; 0 if unknown or over.
  std::string why{};
};

/// "Is there room, and where is that number kept": in this process, on this host, in a store. The
/// arithmetic is the same everywhere (QuotaKey). Thread safe.
///
/// A backend that keeps its numbers in this process or on this host answers at once. One that asks
/// over a network suspends the calling fiber in `try_acquire` and `take_retry`, and in nothing
/// else: `settle`, `withdraw` and what is const never wait (it sends and goes on, and answers from
/// what it heard last). The limiter holds no lock while it calls. Nothing throws: a store that
/// cannot be reached is answered for by the backend's outage policy.
class LimiterBackend {
 public:
  virtual ~LimiterBackend() = default;

  /// Grants the whole ask at `now`, or says when to ask again, or that it is pointless. All limits
  /// together or none.
  ///
  /// If other limiters share the key: a ticket with an id that has to wait is remembered, and takes
  /// its place among all tickets of the key (start-time fair queueing over flows, see Arbiter), so
  /// that a later ask does not overtake it. It is forgotten when it is granted, withdrawn, refused,
  /// or two seconds after the instant that was answered. `next` (may be null) takes its place in
  /// the same step if the ask is granted; Granted::next says when it may try.
  virtual Admission try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                                const NextInLine* next) = 0;
  /// The waiting call with this ticket id has gone away. Unknown ids are fine.
  virtual void withdraw(Instant now, std::uint64_t ticket_id) = 0;
  /// Ends a grant: corrects the levels by what really happened and moves the key's state.
  /// Returns the change of state, if there was one. A grant that is not known (any more) is fine.
  virtual std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                          const Outcome& outcome) = 0;
  /// Takes one retry from the key's retry budget (see RetryBudget); false: it is used up.
  [[nodiscard]] virtual bool take_retry(Instant now) = 0;

  /// True if other limiters, in this process or elsewhere, may share the key: then every flow's
  /// first waiting call asks for itself, and the backend decides which goes.
  [[nodiscard]] virtual bool shared() const noexcept { return false; }
  /// Calls `f` (on any thread, briefly, no locks held) when another limiter's grant ended or left,
  /// so that there may be room earlier than was answered. Until the returned handle is destroyed; a
  /// call that is under way then is waited for. Null if that cannot happen.
  [[nodiscard]] virtual std::shared_ptr<void> on_room(std::function<void()> f) {
    (void)f;
    return nullptr;
  }

  /// How long `ask` would wait if the calls `ahead` go first.
  [[nodiscard]] virtual WaitEstimate expected_wait(Instant now, const Ask& ask,
                                                   const QueuedAhead& ahead) const = 0;
  [[nodiscard]] virtual KeySnapshot snapshot(Instant now) const = 0;
  /// "in_process, 60 requests/min, 90000 tokens/min, 8 in flight".
  [[nodiscard]] virtual std::string describe() const = 0;
};

}  // namespace moderato
