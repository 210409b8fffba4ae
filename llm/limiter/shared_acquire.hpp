#pragma once

// Private header of the library: not installed.

#include <moderato/llm/limiter/arbiter.hpp>
#include <moderato/llm/limiter/quota_key.hpp>

namespace moderato {

/// LimiterBackend::try_acquire on a key that several limiters share: the order decides what goes
/// before the call, the key whether there is room for that and for the call. `owner` names the
/// limiter that asks.
[[nodiscard]] Admission shared_acquire(QuotaKey& key, Arbiter& order, std::uint64_t owner,
                                       Instant now, const Ask& ask, const Ticket& ticket,
                                       const NextInLine* next);

}  // namespace moderato
