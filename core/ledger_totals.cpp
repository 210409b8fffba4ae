#include <moderato/core/ledger_totals.hpp>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<LedgerKey, 5> names{{"session", "agent", "tenant", "purpose", "model"}};

std::string group_of(const CallRecord& record, LedgerKey key) {
  switch (key) {
    case LedgerKey::session:
      return record.session;
    case LedgerKey::agent:
      return record.agent;
    case LedgerKey::tenant:
      return record.tenant;
    case LedgerKey::purpose:
      return std::string(to_string(record.purpose));
    case LedgerKey::model:
      return record.model;
  }
  return {};
}

}  // namespace

std::string_view to_string(LedgerKey key) noexcept {
  return names.name_of(key);
}
std::optional<LedgerKey> ledger_key_from_string(std::string_view name) noexcept {
  return names.value_of(name);
}

void LedgerTotals::add(const CallRecord& record) noexcept {
  if (record.cached) {
    ++cached;
    return;
  }
  if (record.ok()) ++calls;
  if (record.attempt > 0) ++attempts;
  if (record.http_status == 429) ++refused;
  usage += record.usage;
  cost += record.cost;
  queue_wait += record.queue_wait;
  latency += record.latency;
}

std::vector<CallRecord> records_with(std::vector<CallRecord> records, LedgerKey key,
                                     std::string_view value) {
  std::erase_if(records, [&](const CallRecord& record) {
    const std::string group = group_of(record, key);
    const bool within = key == LedgerKey::session && group.size() > value.size() &&
                        group.starts_with(value) && group[value.size()] == '/';
    return group != value && !within;
  });
  return records;
}

std::map<std::vector<std::string>, LedgerTotals> totals_by(const std::vector<CallRecord>& records,
                                                           const std::vector<LedgerKey>& keys) {
  std::map<std::vector<std::string>, LedgerTotals> groups;
  for (const CallRecord& record : records) {
    std::vector<std::string> group;
    for (const LedgerKey key : keys) group.push_back(group_of(record, key));
    groups[group].add(record);
  }
  return groups;
}

}  // namespace moderato
