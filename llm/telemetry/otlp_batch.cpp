#include <moderato/llm/telemetry/otlp_batch.hpp>

#include <fmt/format.h>

#include <moderato/core/version.hpp>
#include <moderato/llm/tokens/fingerprint.hpp>

// JSON as in https://opentelemetry.io/docs/specs/otlp/ (JSON Protobuf encoding): ids are
// hexadecimal texts, 64-bit numbers are texts, enumerations are numbers.

namespace moderato {
namespace {

std::string nanoseconds(WallTime at) {
  return std::to_string(
      std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count());
}

WallTime wall(const std::variant<Instant, WallTime>& at, const Clock& clock) {
  if (const auto* known = std::get_if<WallTime>(&at)) return *known;
  return clock.wall_now() - (clock.now() - std::get<Instant>(at));
}

std::uint64_t mixed(std::uint64_t seed, std::uint64_t number) {
  return Fingerprint(seed).add(number).value() | 1U;  // never all zero
}

/// One trace for a session and those that it opened ("SESSION/…").
std::string trace_id(const std::string& session, std::uint64_t seed) {
  const std::string_view root = std::string_view(session).substr(0, session.find('/'));
  const std::uint64_t name = Fingerprint(seed).add(root).value();
  return fmt::format("{:016x}{:016x}", mixed(name, 1), mixed(name, 2));
}
std::string span_id(std::uint64_t number, std::uint64_t seed) {
  return fmt::format("{:016x}", mixed(seed, number));
}

Json value_of(const Json& value) {
  if (value.is_number_integer()) return {{"intValue", std::to_string(value.get<std::int64_t>())}};
  if (value.is_number()) return {{"doubleValue", value}};
  if (value.is_boolean()) return {{"boolValue", value}};
  if (value.is_array()) {
    Json values = Json::array();
    for (const Json& item : value) values.push_back(value_of(item));
    return {{"arrayValue", {{"values", std::move(values)}}}};
  }
  return {{"stringValue", value.is_string() ? value : Json(dump_json(value))}};
}

Json resource(const OtlpFrame& frame) {
  return {{"attributes", otlp_attributes({{"service.name", frame.service_name}})}};
}
Json scope() {
  return {{"name", "moderato"}, {"version", MODERATO_VERSION}};
}

Json histogram(const char* name, const char* unit, const OtlpSeries& series,
               const std::array<double, 14>& boundaries, const OtlpFrame& frame) {
  Json points = Json::array();
  const std::string now = nanoseconds(frame.clock.wall_now());
  for (const auto& [attributes, values] : series) {
    Json buckets = Json::array();
    for (const std::uint64_t count : values.buckets) buckets.push_back(std::to_string(count));
    points.push_back({{"attributes", Json::parse(attributes)},
                      {"startTimeUnixNano", nanoseconds(frame.began)},
                      {"timeUnixNano", now},
                      {"count", std::to_string(values.count)},
                      {"sum", values.sum},
                      {"bucketCounts", std::move(buckets)},
                      {"explicitBounds", boundaries}});
  }
  constexpr int cumulative = 2;
  return {
      {"name", name},
      {"unit", unit},
      {"histogram", {{"aggregationTemporality", cumulative}, {"dataPoints", std::move(points)}}}};
}

}  // namespace

void OtlpHistogram::add(double value, const std::array<double, 14>& boundaries) {
  std::size_t bucket = 0;
  while (bucket < boundaries.size() && value > boundaries[bucket]) ++bucket;
  ++buckets[bucket];
  ++count;
  sum += value;
}

Json otlp_attributes(const OtlpAttributes& attributes) {
  Json all = Json::array();
  for (const auto& [key, value] : attributes) {
    if (value.is_string() && value.get_ref<const std::string&>().empty()) continue;
    all.push_back({{"key", key}, {"value", value_of(value)}});
  }
  return all;
}

Json otlp_traces(const std::vector<OtlpSpan>& spans, const OtlpFrame& frame) {
  constexpr int internal = 1;
  constexpr int client = 3;
  constexpr int error = 2;
  Json all = Json::array();
  for (const OtlpSpan& span : spans) {
    const WallTime began = wall(span.began, frame.clock);
    OtlpAttributes attributes = span.attributes;
    if (!span.error.empty()) attributes.emplace_back("error.type", span.error);
    Json json{{"traceId", trace_id(span.session, frame.seed)},
              {"spanId", span_id(span.number, frame.seed)},
              {"name", span.name},
              {"kind", span.client ? client : internal},
              {"startTimeUnixNano", nanoseconds(began)},
              {"endTimeUnixNano",
               nanoseconds(began + std::chrono::duration_cast<WallTime::duration>(span.took))},
              {"attributes", otlp_attributes(attributes)}};
    if (span.parent != 0) json["parentSpanId"] = span_id(span.parent, frame.seed);
    if (!span.error.empty()) json["status"] = {{"code", error}, {"message", span.error}};
    all.push_back(std::move(json));
  }
  Json scope_spans = Json::array({{{"scope", scope()}, {"spans", std::move(all)}}});
  return {{"resourceSpans",
           Json::array({{{"resource", resource(frame)}, {"scopeSpans", std::move(scope_spans)}}})}};
}

Json otlp_metrics(const OtlpSeries& tokens, const OtlpSeries& durations, const OtlpFrame& frame) {
  Json metrics = Json::array(
      {histogram("gen_ai.client.token.usage", "{token}", tokens, otlp_token_boundaries, frame),
       histogram("gen_ai.client.operation.duration", "s", durations, otlp_duration_boundaries,
                 frame)});
  Json scope_metrics = Json::array({{{"scope", scope()}, {"metrics", std::move(metrics)}}});
  return {{"resourceMetrics", Json::array({{{"resource", resource(frame)},
                                            {"scopeMetrics", std::move(scope_metrics)}}})}};
}

}  // namespace moderato
