#include <moderato/core/call_record.hpp>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <cstdio>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<Purpose, 6> purpose_names{
    {"reply", "speaker_selection", "summary", "final_answer", "other", "planning"}};
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

WallTime from_iso8601(const std::string& text) {
  int year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0, millis = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d.%3d", &year, &month, &day, &hour, &minute,
                  &second, &millis) < 6) {
    return {};
  }
  // A damaged file may say anything; 64 bits of nanoseconds reach from 1677 to 2262.
  const std::chrono::year_month_day day_of(std::chrono::year(year) / month / day);
  if (year < 1678 || year > 2261 || !day_of.ok()) return {};
  const std::chrono::sys_days date(day_of);
  return date + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second) + std::chrono::milliseconds(millis);
}

Duration from_milliseconds(double count) {
  constexpr double two_centuries = 200.0 * 365 * 86'400 * 1000;
  if (!(count >= -two_centuries && count <= two_centuries)) count = 0;
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(count));
}

// Members that are written only where they are known.
struct TextMember {
  const char* name;
  std::string CallRecord::*member;
};
constexpr std::array texts{
    TextMember{"key", &CallRecord::key}, TextMember{"wait_reason", &CallRecord::wait_reason},
    TextMember{"request", &CallRecord::request}, TextMember{"reply", &CallRecord::reply}};
struct LimitMember {
  const char* name;
  std::optional<std::int64_t> CallRecord::*member;
};
constexpr std::array limits{LimitMember{"limit_requests", &CallRecord::limit_requests},
                            LimitMember{"remaining_requests", &CallRecord::remaining_requests},
                            LimitMember{"limit_tokens", &CallRecord::limit_tokens},
                            LimitMember{"remaining_tokens", &CallRecord::remaining_tokens}};

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
  if (record.cached) json["cached"] = true;
  json["http_status"] = record.http_status;
  if (!record.provider_code.empty()) json["provider_code"] = record.provider_code;
  if (!record.request_id.empty()) json["request_id"] = record.request_id;
  if (!record.finish_reason.empty()) json["finish_reason"] = record.finish_reason;
  for (const auto& [name, member] : texts) {
    if (!(record.*member).empty()) json[name] = record.*member;
  }
  if (record.retry_after) json["retry_after_ms"] = milliseconds(*record.retry_after);
  for (const auto& [name, member] : limits) {
    if (record.*member) json[name] = *(record.*member);
  }
  return json;
}

Result<CallRecord> call_record_from_json(const Json& json) try {
  const std::string none;
  const auto number = [&](const char* name) { return whole_number(json, name, 0); };
  CallRecord record{
      .session = json.value("session", none),
      .tenant = json.value("tenant", none),
      .agent = json.value("agent", none),
      .purpose = purpose_from_string(json.value("purpose", none)).value_or(Purpose::other),
      .provider = json.value("provider", none),
      .model = json.value("model", none),
      .call = static_cast<std::uint64_t>(number("call")),
      .attempt = static_cast<int>(number("attempt")),
      .cached = json.value("cached", false),
      .estimated_input = number("estimated_input"),
      .reserved_output = number("reserved_output"),
      .usage = {.input = number("input"),
                .output = number("output"),
                .cached_input = number("cached_input"),
                .reasoning = number("reasoning"),
                .source = source_names.value_of(json.value("usage_source", none))
                              .value_or(UsageSource::none)},
      .cost = json.value("cost", 0.0),
      .queue_wait = from_milliseconds(json.value("queue_wait_ms", 0.0)),
      .latency = from_milliseconds(json.value("latency_ms", 0.0)),
      .http_status = static_cast<int>(number("http_status")),
      .provider_code = json.value("provider_code", none),
      .request_id = json.value("request_id", none),
      .finish_reason = json.value("finish_reason", none),
      .sent_at = from_iso8601(json.value("sent_at", none))};
  const std::string outcome = json.value("outcome", std::string("ok"));
  if (outcome != "ok") {
    record.error = error_code_from_string(outcome).value_or(ErrorCode::internal);
  }
  const auto duration = [&](const char* name) -> std::optional<Duration> {
    if (!json.contains(name)) return std::nullopt;
    return from_milliseconds(json.at(name).get<double>());
  };
  record.time_to_first_token = duration("time_to_first_token_ms");
  record.retry_after = duration("retry_after_ms");
  for (const auto& [name, member] : texts) record.*member = json.value(name, none);
  for (const auto& [name, member] : limits) {
    if (json.contains(name)) record.*member = whole_number(json.at(name));
  }
  return record;
} catch (const Json::exception& wrong) {
  return fail(ErrorCode::storage, fmt::format("a ledger record cannot be read: {}", wrong.what()));
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
