#pragma once

// Private header of the library: not installed.

#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/limiter/quota_key.hpp>

namespace moderato {

/// The options of a quota as its key needs them. Throws std::invalid_argument with what is wrong
/// and what to write instead.
[[nodiscard]] QuotaRules rules_of(const QuotaOptions& options);
[[nodiscard]] QuotaRules rules_of(const AdaptiveOptions& options);
/// `options` of a queue that make no sense throw, too.
void check(const QueueOptions& options);

}  // namespace moderato
