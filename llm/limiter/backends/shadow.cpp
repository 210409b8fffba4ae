#include <moderato/llm/limiter/backends/shadow.hpp>

#include <mutex>
#include <unordered_map>
#include <variant>

#include <moderato/llm/limiter/backends/in_process.hpp>
#include <moderato/llm/limiter/quota_rules.hpp>

namespace moderato {

struct ShadowBackend::State {
  explicit State(const QuotaRules& rules) : key(std::make_shared<InProcessBackend>(rules)) {}
  std::shared_ptr<InProcessBackend> key;
  std::mutex mutex;
  ShadowReport report;
  std::unordered_map<std::uint64_t, Granted> charged;  ///< By our id; what the key granted.
};

ShadowBackend::ShadowBackend(const QuotaOptions& options)
    : state_(std::make_unique<State>(rules_of(options))) {}
ShadowBackend::~ShadowBackend() = default;

ShadowReport ShadowBackend::report() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->report;
}

Admission ShadowBackend::try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                                     const NextInLine* next) {
  const Admission answer = state_->key->try_acquire(now, ask, ticket, next);
  const std::scoped_lock lock(state_->mutex);
  ShadowReport& report = state_->report;
  const std::uint64_t id = ++report.calls;
  if (const auto* granted = std::get_if<Granted>(&answer)) {
    if (granted->start > now) ++report.would_wait;
    state_->charged.emplace(id, *granted);
  } else if (std::holds_alternative<MustWait>(answer)) {
    ++report.would_wait;
  } else {
    ++report.would_refuse;
  }
  return Granted{.id = id, .at = now};
}

std::optional<KeyChange> ShadowBackend::settle(Instant now, const Granted& grant, const Ask& ask,
                                               const Outcome& outcome) {
  Granted charged;
  {
    const std::scoped_lock lock(state_->mutex);
    const auto found = state_->charged.find(grant.id);
    if (found == state_->charged.end()) return std::nullopt;
    charged = found->second;
    state_->charged.erase(found);
  }
  return state_->key->settle(now, charged, ask, outcome);
}

bool ShadowBackend::take_retry(Instant now) {
  if (state_->key->take_retry(now)) return true;
  const std::scoped_lock lock(state_->mutex);
  ++state_->report.would_deny_retry;
  return true;
}

KeySnapshot ShadowBackend::snapshot(Instant now) const {
  return state_->key->snapshot(now);
}

std::string ShadowBackend::describe() const {
  return "shadow of " + state_->key->describe();
}

}  // namespace moderato
