#include <moderato/llm/limiter/backends/in_process.hpp>

#include <utility>
#include <vector>

#include <moderato/llm/limiter/shared_acquire.hpp>

namespace moderato {

/// One of several limiters: its tickets are its own, and it is told when others make room.
class InProcessBackend::Member final : public LimiterBackend {
 public:
  Member(std::shared_ptr<InProcessBackend> key, std::uint64_t owner)
      : key_(std::move(key)), owner_(owner) {}
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;
  ~Member() override {
    const std::scoped_lock lock(key_->mutex_);
    key_->order_.drop_owner(owner_);
  }

  Admission try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                        const NextInLine* next) override {
    return key_->try_acquire_for(owner_, now, ask, ticket, next);
  }
  void withdraw(Instant, std::uint64_t ticket_id) override {
    {
      const std::scoped_lock lock(key_->mutex_);
      key_->order_.withdraw({owner_, ticket_id});
    }
    key_->tell_room(owner_);
  }
  std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome) override {
    auto change = key_->settle(now, grant, ask, outcome);
    key_->tell_room(owner_);
    return change;
  }
  bool take_retry(Instant now) override { return key_->take_retry(now); }
  [[nodiscard]] bool shared() const noexcept override { return true; }
  [[nodiscard]] std::shared_ptr<void> on_room(std::function<void()> f) override {
    const std::scoped_lock lock(key_->listeners_mutex_);
    key_->listeners_[owner_] = std::move(f);
    return std::shared_ptr<void>(nullptr, [key = key_, owner = owner_](void*) {
      const std::scoped_lock unlock(key->listeners_mutex_);
      key->listeners_.erase(owner);
    });
  }
  [[nodiscard]] WaitEstimate expected_wait(Instant now, const Ask& ask,
                                           const QueuedAhead& ahead) const override {
    return key_->expected_wait(now, ask, ahead);
  }
  [[nodiscard]] KeySnapshot snapshot(Instant now) const override { return key_->snapshot(now); }
  [[nodiscard]] std::string describe() const override { return key_->describe(); }

 private:
  std::shared_ptr<InProcessBackend> key_;
  std::uint64_t owner_;
};

InProcessBackend::InProcessBackend(const QuotaRules& rules) : key_(rules) {}

Admission InProcessBackend::try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                                        const NextInLine*) {
  const std::scoped_lock lock(mutex_);
  return key_.try_acquire(now, ask, {}, ticket.retry);
}

Admission InProcessBackend::try_acquire_for(std::uint64_t owner, Instant now, const Ask& ask,
                                            const Ticket& ticket, const NextInLine* next) {
  const std::scoped_lock lock(mutex_);
  return shared_acquire(key_, order_, owner, now, ask, ticket, next);
}

/// A single limiter's own queue holds its tickets.
void InProcessBackend::withdraw(Instant, std::uint64_t) {}

std::optional<KeyChange> InProcessBackend::settle(Instant now, const Granted& grant, const Ask& ask,
                                                  const Outcome& outcome) {
  const std::scoped_lock lock(mutex_);
  return key_.settle(now, grant, ask, outcome);
}

bool InProcessBackend::take_retry(Instant now) {
  const std::scoped_lock lock(mutex_);
  return key_.take_retry(now);
}

WaitEstimate InProcessBackend::expected_wait(Instant now, const Ask& ask,
                                             const QueuedAhead& ahead) const {
  const std::scoped_lock lock(mutex_);
  return key_.expected_wait(now, ask, ahead);
}

KeySnapshot InProcessBackend::snapshot(Instant now) const {
  const std::scoped_lock lock(mutex_);
  KeySnapshot snapshot = key_.snapshot(now);
  snapshot.waiting = order_.waiting(now);
  snapshot.owners = members_;
  return snapshot;
}

std::string InProcessBackend::describe() const {
  const std::scoped_lock lock(mutex_);
  return "in_process, " + key_.describe();
}

std::shared_ptr<LimiterBackend> InProcessBackend::member() {
  const std::scoped_lock lock(mutex_);
  return std::make_shared<Member>(shared_from_this(), ++members_);
}

void InProcessBackend::tell_room(std::uint64_t except) {
  const std::scoped_lock lock(listeners_mutex_);
  for (const auto& [owner, listener] : listeners_) {
    if (owner != except) listener();
  }
}

}  // namespace moderato
