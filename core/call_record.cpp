#include <moderato/core/call_record.hpp>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<Purpose, 5> purpose_names{
    {"reply", "speaker_selection", "summary", "final_answer", "other"}};
constexpr NameTable<UsageSource, 4> source_names{{"none", "measured", "estimated", "reserved"}};

double milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

/// "2026-01-01T00:00:00.000Z"
std::string iso8601(WallTime time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(time - whole).count();
  const auto seconds = std::chrono::system_clock::to_time_t(whole);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(seconds), millis);
}

}  // namespace

std::string_view to_string(Purpose purpose) noexcept {
  return purpose_names.name_of(purpose);
}
std::optional<Purpose> purpose_from_string(std::string_view name) noexcept {
  return purpose_names.value_of(name);
}

Json to_json(const CallRecord& record) {
  Json json{{"sent_at", iso8601(record.sent_at)},
            {"session", record.session},
            {"tenant", record.tenant},
            {"agent", record.agent},
            {"purpose", std::string(to_string(record.purpose))},
            {"provider", record.provider},
            {"model", record.model},
            {"call", record.call},
            {"attempt", record.attempt},
            {"estimated_input", record.estimated_input},
            {"reserved_output", record.reserved_output},
            {"input", record.usage.input},
            {"output", record.usage.output},
            {"cached_input", record.usage.cached_input},
            {"reasoning", record.usage.reasoning},
            {"usage_source", std::string(source_names.name_of(record.usage.source))},
            {"cost", record.cost},
            {"queue_wait_ms", milliseconds(record.queue_wait)},
            {"latency_ms", milliseconds(record.latency)}};
  if (record.time_to_first_token) {
    json["time_to_first_token_ms"] = milliseconds(*record.time_to_first_token);
  }
  json["outcome"] = record.error ? std::string(to_string(*record.error)) : "ok";
  json["http_status"] = record.http_status;
  if (!record.provider_code.empty()) json["provider_code"] = record.provider_code;
  if (!record.request_id.empty()) json["request_id"] = record.request_id;
  if (!record.finish_reason.empty()) json["finish_reason"] = record.finish_reason;
  return json;
}

void MemoryLedger::append(const CallRecord& record) {
  const std::scoped_lock lock(mutex_);
  records_.push_back(record);
}

std::vector<CallRecord> MemoryLedger::records() const {
  const std::scoped_lock lock(mutex_);
  return records_;
}

std::size_t MemoryLedger::size() const {
  const std::scoped_lock lock(mutex_);
  return records_.size();
}

}  // namespace moderato
