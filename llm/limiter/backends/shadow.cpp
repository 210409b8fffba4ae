#include <moderato/llm/limiter/backends/shadow.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>

#include <moderato/llm/limiter/limiter_backend.hpp>
#include <moderato/llm/limiter/quota_key.hpp>
#include <moderato/llm/limiter/quota_rules.hpp>

// The key of a quota can be asked to commit ahead: it charges a call now and says when the call may
// leave. With a horizon that is never reached this is the whole shadow: each call is charged in the
// order of its coming, the answer is how long it would have stood in the queue, and the call goes.

namespace moderato {
namespace {

constexpr Duration horizon = std::chrono::hours(24 * 365);

class ShadowBackend final : public LimiterBackend {
 public:
  ShadowBackend(const QuotaRules& rules, ShadowOptions options)
      : options_(std::move(options)), key_(rules) {}

  Admission try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                        const NextInLine*) override {
    ShadowVerdict verdict{.ask = ask};
    Granted granted{.at = now};
    {
      const std::scoped_lock lock(mutex_);
      ++report_.calls;
      const Admission admission = key_.try_acquire(now, ask, {}, ticket.retry, horizon);
      if (const auto* grant = std::get_if<Granted>(&admission)) {
        granted = *grant;
        granted.at = now;
        granted.start = {};
        if (grant->start > now) {
          leaves_.emplace(grant->id, *grant);
          verdict.wait = grant->start - now;
          verdict.reason = "rate";
        }
      } else if (const auto* wait = std::get_if<MustWait>(&admission)) {
        verdict.reason = wait->reason;
        if (wait->until > now && wait->until != Instant::max()) verdict.wait = wait->until - now;
      } else {
        verdict.refused = true;
        verdict.reason = std::get<Refused>(admission).error.message;
      }
      count(verdict);
    }
    tell(verdict);
    return granted;
  }

  void withdraw(Instant, std::uint64_t) override {}
  std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome) override {
    if (grant.id == 0) return std::nullopt;  // was charged nowhere
    const std::scoped_lock lock(mutex_);
    // A call that would still be waiting gives back at the time at which it would have left.
    if (const auto waiting = leaves_.extract(grant.id)) {
      const Granted& charged = waiting.mapped();
      return key_.settle(std::max(now, charged.start), charged, ask, outcome);
    }
    return key_.settle(now, grant, ask, outcome);
  }
  bool take_retry(Instant now) override {
    const std::scoped_lock lock(mutex_);
    if (!key_.take_retry(now)) ++report_.retries_beyond_budget;
    return true;
  }
  [[nodiscard]] WaitEstimate expected_wait(Instant, const Ask&, const QueuedAhead&) const override {
    return {};
  }
  [[nodiscard]] KeySnapshot snapshot(Instant now) const override {
    const std::scoped_lock lock(mutex_);
    return key_.snapshot(now);
  }
  [[nodiscard]] std::string describe() const override {
    const std::scoped_lock lock(mutex_);
    return fmt::format(
        "shadow of {}; of {} calls {} would have waited ({:.1f} s at most), {} would have been "
        "refused",
        key_.describe(), report_.calls, report_.would_wait,
        std::chrono::duration<double>(report_.longest_wait).count(), report_.would_be_refused);
  }
  [[nodiscard]] ShadowReport report() const {
    const std::scoped_lock lock(mutex_);
    return report_;
  }

 private:
  void tell(const ShadowVerdict& verdict) const noexcept {
    if (verdict.reason.empty() || !options_.on_verdict) return;
    try {
      options_.on_verdict(verdict);
    } catch (...) {  // nobody's call fails for a listener
    }
  }
  void count(const ShadowVerdict& verdict) {
    if (verdict.refused) {
      ++report_.would_be_refused;
    } else if (!verdict.reason.empty()) {
      ++report_.would_wait;
      report_.longest_wait = std::max(report_.longest_wait, verdict.wait);
      report_.waits += verdict.wait;
    }
  }

  const ShadowOptions options_;
  mutable std::mutex mutex_;
  QuotaKey key_;
  ShadowReport report_;
  std::map<std::uint64_t, Granted> leaves_;  // calls under way that would have waited
};

}  // namespace

ShadowLimiter shadow_with_report(QuotaOptions options, ShadowOptions shadow) {
  const auto backend = std::make_shared<ShadowBackend>(rules_of(options), std::move(shadow));
  return {.limiter = limiter_over(backend, {.max_queue = 0},
                                  options.name.empty() ? "shadow" : options.name),
          .report = [backend] { return backend->report(); }};
}

Limiter shadow(QuotaOptions options, ShadowOptions how) {
  return shadow_with_report(std::move(options), std::move(how)).limiter;
}

}  // namespace moderato
