#include <fmt/format.h>

#include <moderato/llm/limiter/backends/shared_host_backend.hpp>
#include <moderato/llm/limiter/shared_acquire.hpp>
#include <utility>
#include <variant>

namespace moderato {
namespace {

Error stuck(const std::string& path) {
  return {.code = ErrorCode::storage,
          .message = fmt::format("{}: the shared quota has been locked for five seconds: a process "
                                 "that uses it is stopped, or the file is damaged",
                                 path),
          .retry_after = std::chrono::seconds(1)};
}

/// While the order of the waiting is not in order.
class OrderChange {
 public:
  explicit OrderChange(SharedHostState& state) noexcept : state_(state) {
    state_.begin_order_change();
  }
  OrderChange(const OrderChange&) = delete;
  OrderChange& operator=(const OrderChange&) = delete;
  ~OrderChange() { state_.end_order_change(); }

 private:
  SharedHostState& state_;
};

}  // namespace

Admission SharedHostBackend::try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                                         const NextInLine* next) {
  SharedHostState& state = host_->state();
  std::uint32_t who = nobody;
  std::optional<Admission> admission;
  {
    const SharedHostState::Lock lock(state);
    if (!lock) return Refused{stuck(host_->path())};
    took_lock(lock);
    const OrderChange order(state);
    admission = state.change(
        [&](SharedHostNumbers& numbers) {
          auto answer =
              shared_acquire(numbers.key, state.order(), joined_.owner, now, ask, ticket, next);
          if (std::holds_alternative<Granted>(answer)) {
            const auto& seat = state.seats()[joined_.seat];
            numbers.seat = {.seat = joined_.seat,
                            .owner = joined_.owner,
                            .in_flight = seat.in_flight + 1,
                            .any = true};
          }
          return answer;
        },
        host_->step());
    if (std::holds_alternative<Granted>(*admission)) who = who_may_go(now, false);
  }
  ring(who);
  if (ticket.id != 0 && std::holds_alternative<MustWait>(*admission)) host_->watch();
  return *std::move(admission);
}

std::optional<KeyChange> SharedHostBackend::settle(Instant now, const Granted& grant,
                                                   const Ask& ask, const Outcome& outcome) {
  SharedHostState& state = host_->state();
  std::uint32_t who = nobody;
  std::optional<KeyChange> changed;
  {
    const SharedHostState::Lock lock(state);
    if (!lock) return std::nullopt;
    took_lock(lock);
    bool was_full = false;
    changed = state.change(
        [&](SharedHostNumbers& numbers) {
          was_full = numbers.key.slots_full();
          const auto& seat = state.seats()[joined_.seat];
          numbers.seat = {.seat = joined_.seat,
                          .owner = joined_.owner,
                          .in_flight = seat.in_flight - 1,
                          .any = true};
          return numbers.key.settle(now, grant, ask, outcome);
        },
        host_->step());
    // Whoever was told to wait for the state's end is told of it.
    who = changed ? everybody : who_may_go(now, was_full);
  }
  ring(who);
  return changed;
}

void SharedHostBackend::withdraw(Instant now, std::uint64_t ticket_id) {
  SharedHostState& state = host_->state();
  std::uint32_t who = nobody;
  {
    const SharedHostState::Lock lock(state);
    if (!lock) return;
    took_lock(lock);
    {
      const OrderChange order(state);
      state.order().withdraw({joined_.owner, ticket_id});
    }
    who = who_may_go(now, false);
  }
  ring(who);
}

void SharedHostBackend::took_lock(const SharedHostState::Lock& lock) {
  if (lock.recovered()) host_->drop_dead();
}

std::uint32_t SharedHostBackend::who_may_go(Instant now, bool slot_freed) const {
  const SharedHostState& state = host_->state();
  const auto first = state.order().first(now);
  // A wait for a slot has no end that was told, so the tickets may all have expired by now.
  if (!first) return slot_freed ? everybody : nobody;
  if (first->place.owner == joined_.owner || first->until <= now) return nobody;
  if (state.numbers().key.slots_full()) return nobody;
  const WaitEstimate wait = state.numbers().key.expected_wait(now, first->ask, {});
  if (wait.expected > Duration::zero()) return nobody;
  for (std::uint32_t seat = 0; seat < SharedHostState::max_seats; ++seat) {
    if (state.seats()[seat].owner == first->place.owner) return seat;
  }
  return nobody;
}

void SharedHostBackend::ring(std::uint32_t who) {
  if (who == everybody) {
    host_->ring_all();
  } else if (who != nobody) {
    host_->ring(who);
  }
}

bool SharedHostBackend::take_retry(Instant now) {
  SharedHostState& state = host_->state();
  const SharedHostState::Lock lock(state);
  if (!lock) return false;
  return state.change([&](SharedHostNumbers& numbers) { return numbers.key.take_retry(now); },
                      host_->step());
}

std::shared_ptr<void> SharedHostBackend::on_room(std::function<void()> f) {
  return host_->listen(joined_.seat, std::move(f));
}

WaitEstimate SharedHostBackend::expected_wait(Instant now, const Ask& ask,
                                              const QueuedAhead& ahead) const {
  SharedHostState& state = host_->state();
  const SharedHostState::Lock lock(state);
  if (!lock) return {};
  return state.numbers().key.expected_wait(now, ask, ahead);
}

KeySnapshot SharedHostBackend::snapshot(Instant now) const {
  SharedHostState& state = host_->state();
  const SharedHostState::Lock lock(state);
  if (!lock) return {.state = "locked"};
  KeySnapshot snapshot = state.numbers().key.snapshot(now);
  snapshot.waiting = state.order().waiting(now);
  snapshot.owners = host_->alive();
  return snapshot;
}

std::string SharedHostBackend::describe() const {
  SharedHostState& state = host_->state();
  const SharedHostState::Lock lock(state);
  const std::string quota = lock ? state.numbers().key.describe() : "locked";
  return fmt::format("shared_host {}, {}{}", host_->path(), quota, joined_.note);
}

}  // namespace moderato
