#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/call_record.hpp>

namespace moderato {

/// Sums over records of a ledger.
struct LedgerTotals {
  std::int64_t calls = 0;     ///< Answered.
  std::int64_t attempts = 0;  ///< Sent.
  std::int64_t cached = 0;    ///< Answered from a cache; not among `calls`.
  std::int64_t refused = 0;   ///< Answered with HTTP 429.
  Usage usage{};
  double cost = 0.0;
  Duration queue_wait{};
  Duration latency{};

  void add(const CallRecord& record) noexcept;
};

/// What records can be grouped by.
enum class LedgerKey : std::uint8_t { session, agent, tenant, purpose, model };

[[nodiscard]] std::string_view to_string(LedgerKey key) noexcept;
[[nodiscard]] std::optional<LedgerKey> ledger_key_from_string(std::string_view name) noexcept;

/// The records that have this value for a key; those of a session with those of the sessions within
/// it ("SESSION/…"). A purpose is written as to_string says it.
[[nodiscard]] std::vector<CallRecord> records_with(std::vector<CallRecord> records, LedgerKey key,
                                                   std::string_view value);

/// The totals of each group: "calls per chat and purpose" is
/// totals_by(journal.calls(), {LedgerKey::session, LedgerKey::purpose}). No keys: one group of all.
[[nodiscard]] std::map<std::vector<std::string>, LedgerTotals> totals_by(
    const std::vector<CallRecord>& records, const std::vector<LedgerKey>& keys);

}  // namespace moderato
