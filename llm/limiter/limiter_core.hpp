#pragma once

// Private header of the library: not installed.

#include <functional>
#include <memory>
#include <string>

#include <moderato/llm/limiter/limiter.hpp>

namespace moderato {

/// What stands behind a Limiter: one key (LimiterState), several that must all agree (a hierarchy),
/// or several of which one will do (a pool). Thread safe.
class LimiterCore : public std::enable_shared_from_this<LimiterCore> {
 public:
  using Announce = std::function<void(const QueuedNotice&)>;

  LimiterCore() = default;
  LimiterCore(const LimiterCore&) = delete;
  LimiterCore& operator=(const LimiterCore&) = delete;
  virtual ~LimiterCore() = default;

  virtual Result<Permit> acquire(const Ask& ask, const CallContext& context, const Clock& clock,
                                 const Announce& queued) = 0;
  /// Ends one part of a permit.
  virtual void settle(const PermitPart& part, const Clock& clock, const Observer& observer,
                      const Outcome& outcome) = 0;
  virtual bool take_retry(Instant now) = 0;
  /// How long this ask would wait if it came now.
  [[nodiscard]] virtual Duration expected_wait(Instant now, const Ask& ask) const = 0;
  [[nodiscard]] virtual LimiterSnapshot snapshot(Instant now) const = 0;
  [[nodiscard]] virtual std::string describe() const = 0;
};

}  // namespace moderato
