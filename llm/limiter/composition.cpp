#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <mutex>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/limiter/limiter_core.hpp>

// Two limiters at once
//
// The naive hierarchy takes a permit of the tenant's quota and then waits for one of the key's.
// While it waits it holds room that another call of the tenant could use, a slot perhaps, and two
// hierarchies that share their parts in another order can wait for each other for ever.
//
// Here a call waits in one queue at a time and holds nothing meanwhile: it waits for the left one;
// with that permit in hand it asks the right one, which must have room now; if it has not, the left
// permit is given back as if it had never been taken, and the call waits for the right one first.
// So it goes back and forth between the two queues until both have room at once. Each time it comes
// as a retry, at the head of its flow, so that it does not lose the place it had.

namespace moderato {
namespace {

constexpr int most_turns = 1000;  // ends what cannot end otherwise

Ask without_waiting(Ask ask) {
  ask.attempt = std::max(ask.attempt, 2);
  return ask;
}

class Hierarchy final : public LimiterCore {
 public:
  Hierarchy(Limiter left, Limiter right) : left_(std::move(left)), right_(std::move(right)) {}

  Result<Permit> acquire(const Ask& ask, const CallContext& context, const Clock& clock,
                         const Announce& queued) override {
    Limiter* first = &left_;
    Limiter* second = &right_;
    Ask next = ask;
    Duration waited{};
    bool told = false;
    const Announce once = [&](const QueuedNotice& notice) {
      if (queued && !told) queued(notice);
      told = true;
    };
    for (int turn = 0; turn < most_turns; ++turn) {
      auto held = first->acquire(next, context, clock, once);
      if (!held) return held;
      waited += held->waited();
      next = without_waiting(ask);
      CallContext now_or_never = context;
      now_or_never.deadline = std::min(context.deadline, saturating_add(clock.now(), Duration(1)));
      auto other = second->acquire(next, now_or_never, clock, {});
      if (other) {
        held->join(std::move(*other));
        return held;
      }
      const bool only_later = other.error().code == ErrorCode::deadline_exceeded;
      if (!only_later || clock.now() >= context.deadline) return other;
      *held = Permit();  // nothing is held while it waits
      std::swap(first, second);
    }
    return fail(ErrorCode::rate_limited, "two limits never had room at the same time");
  }
  void settle(const PermitPart&, const Clock&, const Observer&, const Outcome&) override {}
  bool take_retry(Instant now) override { return left_.take_retry(now) && right_.take_retry(now); }
  [[nodiscard]] Duration expected_wait(Instant now, const Ask& ask) const override {
    return std::max(left_.expected_wait(now, ask), right_.expected_wait(now, ask));
  }
  [[nodiscard]] LimiterSnapshot snapshot(Instant now) const override {
    LimiterSnapshot left = left_.snapshot(now);
    LimiterSnapshot right = right_.snapshot(now);
    const bool left_is_tighter = left.queued >= right.queued;
    LimiterSnapshot& both = left_is_tighter ? left : right;
    both.queued = left.queued + right.queued;
    return both;
  }
  [[nodiscard]] std::string describe() const override {
    return fmt::format("({}) & ({})", left_.describe(), right_.describe());
  }

 private:
  Limiter left_;
  Limiter right_;
};

/// Limiters by tenant, the least recently used one forgotten first.
class PerTenant final : public LimiterCore {
 public:
  using Make = std::function<Limiter(const std::string&)>;
  PerTenant(Make make, std::size_t max_tenants)
      : make_(std::move(make)), max_tenants_(max_tenants) {}

  Result<Permit> acquire(const Ask& ask, const CallContext& context, const Clock& clock,
                         const Announce& queued) override {
    try {
      return of(context.tenant).acquire(ask, context, clock, queued);
    } catch (const std::exception& thrown) {
      return fail(ErrorCode::configuration,
                  fmt::format("per_tenant: making the limiter of tenant \"{}\" threw: {}",
                              context.tenant, thrown.what()));
    }
  }
  void settle(const PermitPart&, const Clock&, const Observer&, const Outcome&) override {}
  // Which tenant retries is not said here: whoever waits longest for his turn has had it.
  bool take_retry(Instant now) override {
    const std::scoped_lock lock(mutex_);
    return recent_.empty() || recent_.front().limiter.take_retry(now);
  }
  [[nodiscard]] Duration expected_wait(Instant now, const Ask& ask) const override {
    const std::scoped_lock lock(mutex_);
    return recent_.empty() ? Duration{} : recent_.front().limiter.expected_wait(now, ask);
  }
  [[nodiscard]] LimiterSnapshot snapshot(Instant now) const override {
    const std::scoped_lock lock(mutex_);
    LimiterSnapshot sum;
    for (const Kept& kept : recent_) {
      const LimiterSnapshot one = kept.limiter.snapshot(now);
      sum.queued += one.queued;
      sum.granted += one.granted;
      sum.refused += one.refused;
      sum.key.in_flight += one.key.in_flight;
    }
    sum.key.state = fmt::format("{} tenants", recent_.size());
    return sum;
  }
  [[nodiscard]] std::string describe() const override {
    const std::scoped_lock lock(mutex_);
    return fmt::format("per tenant (at most {}): {}", max_tenants_,
                       recent_.empty() ? "none yet" : recent_.front().limiter.describe());
  }

 private:
  struct Kept {
    std::string tenant;
    Limiter limiter;
  };

  Limiter of(const std::string& tenant) {
    const std::scoped_lock lock(mutex_);
    if (const auto found = by_name_.find(tenant); found != by_name_.end()) {
      recent_.splice(recent_.begin(), recent_, found->second);
      return recent_.front().limiter;
    }
    recent_.push_front({tenant, make_(tenant)});
    by_name_[tenant] = recent_.begin();
    if (recent_.size() > max_tenants_) {
      by_name_.erase(recent_.back().tenant);
      recent_.pop_back();
    }
    return recent_.front().limiter;
  }

  Make make_;
  std::size_t max_tenants_;
  mutable std::mutex mutex_;
  std::list<Kept> recent_;  // the last used first
  std::unordered_map<std::string, std::list<Kept>::iterator> by_name_;
};

/// Several keys or deployments of which one will do.
class Pool final : public LimiterCore {
 public:
  explicit Pool(std::vector<Limiter> limiters) : limiters_(std::move(limiters)) {}

  Result<Permit> acquire(const Ask& ask, const CallContext& context, const Clock& clock,
                         const Announce& queued) override {
    Result<Permit> last = fail(ErrorCode::internal, "an empty pool");
    for (const std::size_t choice : in_order(clock.now(), ask)) {
      last = limiters_[choice].acquire(ask, context, clock, queued);
      if (last) {
        last->set_choice(choice);
        return last;
      }
      const ErrorCode code = last.error().code;
      if (code == ErrorCode::cancelled || clock.now() >= context.deadline) return last;
    }
    return last;
  }
  void settle(const PermitPart&, const Clock&, const Observer&, const Outcome&) override {}
  bool take_retry(Instant now) override {
    return std::any_of(limiters_.begin(), limiters_.end(),
                       [&](Limiter& one) { return one.take_retry(now); });
  }
  [[nodiscard]] Duration expected_wait(Instant now, const Ask& ask) const override {
    return limiters_[in_order(now, ask).front()].expected_wait(now, ask);
  }
  [[nodiscard]] LimiterSnapshot snapshot(Instant now) const override {
    LimiterSnapshot sum = limiters_.front().snapshot(now);
    for (std::size_t i = 1; i < limiters_.size(); ++i) {
      const LimiterSnapshot one = limiters_[i].snapshot(now);
      sum.queued += one.queued;
      sum.granted += one.granted;
      sum.refused += one.refused;
      sum.key.in_flight += one.key.in_flight;
      sum.key.requests_left += one.key.requests_left;
      sum.key.tokens_left += one.key.tokens_left;
    }
    return sum;
  }
  [[nodiscard]] std::string describe() const override {
    std::string text = "any of";
    for (const Limiter& one : limiters_) text += fmt::format(" ({})", one.describe());
    return text;
  }

 private:
  /// The least wait first; a retry puts what was tried before behind its equals.
  [[nodiscard]] std::vector<std::size_t> in_order(Instant now, const Ask& ask) const {
    std::vector<std::pair<Duration, std::size_t>> waits;
    const auto turn = static_cast<std::size_t>(std::max(ask.attempt - 1, 0));
    for (std::size_t i = 0; i < limiters_.size(); ++i) {
      const std::size_t at = (i + turn) % limiters_.size();
      waits.emplace_back(limiters_[at].expected_wait(now, ask), at);
    }
    std::stable_sort(waits.begin(), waits.end(),
                     [](const auto& left, const auto& right) { return left.first < right.first; });
    std::vector<std::size_t> order;
    for (const auto& [wait, at] : waits) order.push_back(at);
    return order;
  }

  std::vector<Limiter> limiters_;
};

}  // namespace

Limiter any_of(std::vector<Limiter> limiters) {
  if (limiters.empty()) throw std::invalid_argument("any_of: no limiters");
  return Limiter(std::make_shared<Pool>(std::move(limiters)));
}

Limiter operator&(Limiter left, Limiter right) {
  return Limiter(std::make_shared<Hierarchy>(std::move(left), std::move(right)));
}

Limiter per_tenant(std::function<Limiter(const std::string&)> make, std::size_t max_tenants) {
  if (!make) throw std::invalid_argument("per_tenant: no function that makes a limiter");
  if (max_tenants == 0) throw std::invalid_argument("per_tenant: max_tenants must be at least 1");
  return Limiter(std::make_shared<PerTenant>(std::move(make), max_tenants));
}

}  // namespace moderato
