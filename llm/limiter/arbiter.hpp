#pragma once

// Private header of the library: not installed.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <moderato/core/time.hpp>
#include <moderato/llm/limiter/ask.hpp>

namespace moderato {

/// The order among the waiting calls of all limiters that share a key: start-time fair queueing
/// over flows. Holds for each limiter the first waiting call of a few of its flows ("tickets"); the
/// rest of the order is each limiter's own. A value without pointers: it may live in shared memory,
/// and if it is lost nothing else is: the waiters come again. Pure; not thread safe.
class Arbiter {
 public:
  static constexpr std::size_t max_tickets = 256;
  static constexpr std::size_t max_flows = 256;
  /// A ticket whose owner does not come for it is dropped this long after it might have.
  static constexpr Duration patience = std::chrono::seconds(2);

  /// Who asks: a limiter (in whatever process) and one of its tickets.
  struct Holder {
    std::uint64_t owner = 0;
    std::uint64_t ticket = 0;
    friend bool operator==(const Holder&, const Holder&) = default;
  };

  /// What goes before a call of this flow, be it new or waiting: the live tickets with an earlier
  /// start.
  [[nodiscard]] QueuedAhead ahead_of(Instant now, Holder place, const Ticket& ticket);
  /// The same with the calls that have no ticket yet, because they stand behind one of their own
  /// limiter, and will be before it all the same: for the instant that is announced.
  [[nodiscard]] QueuedAhead expected_ahead_of(Holder place, const Ticket& ticket) const;
  /// The call goes. Its flow pays for it, and its ticket (if it had one) is gone. `cost`: its
  /// dominant share as time of quota.
  void granted(Instant now, Holder place, const Ticket& ticket, Duration cost);
  /// The call waits: it keeps its place until `patience` after `until` (Instant::max(): after now).
  /// With a full table nothing is remembered, and its place is that of a new call each time.
  void waits(Instant now, Holder place, const Ticket& ticket, const Ask& ask, Duration cost,
             Instant until);
  void withdraw(Holder place) noexcept;
  /// Everything of a limiter that has died.
  void drop_owner(std::uint64_t owner) noexcept;

  /// How far the ticket's start lies ahead of the earliest who waits.
  [[nodiscard]] std::int64_t lead(Holder place) const noexcept;
  /// The owner's part of the flow's calls, of those that wait and those that have been served ahead
  /// of their turn.
  [[nodiscard]] double share(Holder place, const Ticket& ticket) const noexcept;

  /// The waiting call with the earliest start.
  struct First {
    Holder place{};
    Ask ask{};
    Instant until{};  ///< When it was told to come again; Instant::max(): when it is called.
  };
  [[nodiscard]] std::optional<First> first(Instant now) const noexcept;
  /// Live tickets.
  [[nodiscard]] std::size_t waiting(Instant now) const noexcept;
  /// False for bytes that never were an Arbiter.
  [[nodiscard]] bool valid() const noexcept {
    return ticket_count_ <= max_tickets && flow_count_ <= max_flows;
  }

 private:
  using VirtualTime = Duration::rep;  // nanoseconds of quota, divided by weight
  struct Waiting {
    Holder place{};
    std::uint64_t flow = 0;
    std::uint64_t arrival = 0;  // breaks ties
    VirtualTime start = 0;
    VirtualTime length = 0;
    std::uint32_t callers = 1;
    std::uint32_t queued = 1;
    Ask ask{};
    Instant until{};
    Instant expires{};
  };
  struct Flow {
    std::uint64_t owner = 0;
    std::uint64_t flow = 0;
    VirtualTime finish = 0;
    std::uint32_t callers = 0;
  };

  [[nodiscard]] Waiting* find(Holder place) noexcept;
  [[nodiscard]] const Waiting* find(Holder place) const noexcept;
  void drop_expired(Instant now) noexcept;
  void remove(Waiting& waiting) noexcept;
  void pass(VirtualTime gone) noexcept;
  [[nodiscard]] VirtualTime start_of(Holder place, const Ticket& ticket) const noexcept;
  [[nodiscard]] VirtualTime length_of(Holder place, const Ticket& ticket,
                                      Duration cost) const noexcept;
  void set_finish(Holder place, const Ticket& ticket, VirtualTime finish) noexcept;

  std::array<Waiting, max_tickets> tickets_{};
  std::array<Flow, max_flows> flows_{};
  std::size_t ticket_count_ = 0;
  std::size_t flow_count_ = 0;
  std::uint64_t arrivals_ = 0;
  VirtualTime now_ = 0;  // nobody who waits starts before it
};

}  // namespace moderato
