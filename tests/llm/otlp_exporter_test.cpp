#include <doctest/doctest.h>

#include <map>
#include <mutex>
#include <regex>
#include <vector>

#include <moderato/core/json.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/llm/telemetry/otlp_exporter.hpp>
#include <support/scripted_server.hpp>

namespace moderato {
namespace {

using namespace std::chrono_literals;
using test::ReceivedRequest;
using test::ScriptedServer;
using test::ServerConnection;

/// A collector that keeps what it is sent.
struct Collector {
  explicit Collector(std::string answered = "200 OK")
      : status(std::move(answered)), server([this](ServerConnection& peer) {
          while (auto request = peer.read_request()) {
            {
              const std::scoped_lock lock(mutex);
              requests.push_back(*request);
            }
            peer.answer("{}", status);
          }
        }) {}

  /// The last body that was sent to a path.
  Json body(const std::string& path) {
    const std::scoped_lock lock(mutex);
    Json found;
    for (const ReceivedRequest& request : requests) {
      if (request.line() == "POST " + path + " HTTP/1.1") found = *parse_json(request.body);
    }
    return found;
  }
  std::vector<Json> spans() {
    const Json traces = body("/v1/traces");
    std::vector<Json> all;
    if (traces.is_null()) return all;
    for (const Json& span : traces.at("/resourceSpans/0/scopeSpans/0/spans"_json_pointer)) {
      all.push_back(span);
    }
    return all;
  }

  std::string status;
  std::mutex mutex;
  std::vector<ReceivedRequest> requests;
  ScriptedServer server;
};

OtlpOptions to(const Collector& collector, bool content = false) {
  return {.endpoint = collector.server.url(""),
          .headers = {{"Authorization", Secret("Bearer marked")}},
          .service_name = "shop",
          .content = content};
}

CallRecord call(const std::string& session) {
  return {.session = session,
          .agent = "writer",
          .purpose = Purpose::reply,
          .provider = "openai",
          .model = "gpt-4o",
          .attempt = 1,
          .usage = {.input = 100, .output = 20},
          .queue_wait = 250ms,
          .latency = 700ms,
          .http_status = 200,
          .request_id = "req_1",
          .finish_reason = "stop",
          .sent_at = WallTime(std::chrono::seconds(1'700'000'000))};
}

/// A chat with a tool call, and a branch in a session of its own.
void chat(const Observer& tell, Instant now) {
  tell({.at = now, .session = "s", .data = ChatStarted{"user", "writer"}});
  tell({.at = now + 1s, .session = "s", .data = CallFinished{call("s")}});
  tell({.at = now + 1s,
        .session = "s",
        .data = ToolStarted{
            .agent = "user", .tool = "look", .arguments = "{\"at\": 1}", .call_id = "call_1"}});
  tell({.at = now + 2s,
        .session = "s",
        .data = ToolFinished{.agent = "user",
                             .tool = "look",
                             .call_id = "call_1",
                             .ok = false,
                             .took = 400ms,
                             .result = "Error: nothing there"}});
  tell({.at = now + 2s, .session = "s/branch", .data = ChatStarted{"writer", "expert"}});
  CallRecord refused = call("s/branch");
  refused.error = ErrorCode::rate_limited;
  refused.http_status = 429;
  refused.usage = {};
  tell({.at = now + 3s, .session = "s/branch", .data = CallRejected{.record = refused}});
  tell({.at = now + 3s, .session = "s/branch", .data = Stopped{}});
  tell({.at = now + 4s,
        .session = "s",
        .data = Stopped{.stop = {.reason = StopReason::max_turns}, .usage = {.input = 100}}});
}

std::map<std::string, Json> attributes_of(const Json& holder) {
  std::map<std::string, Json> all;
  for (const Json& attribute : holder.at("attributes")) {
    // Exactly one kind of value, under its name in the published schema.
    REQUIRE(attribute.at("value").size() == 1);
    const std::string kind = attribute.at("value").begin().key();
    CHECK(std::regex_match(kind, std::regex("(string|int|double|bool|array)Value")));
    all[attribute.at("key")] = attribute.at("value").begin().value();
  }
  return all;
}

void check_shape(const Json& span) {
  CHECK(std::regex_match(span.at("traceId").get<std::string>(), std::regex("[0-9a-f]{32}")));
  CHECK(std::regex_match(span.at("spanId").get<std::string>(), std::regex("[0-9a-f]{16}")));
  CHECK(span.at("kind").is_number_integer());
  CHECK(span.at("startTimeUnixNano").is_string());  // 64-bit numbers are texts
  CHECK(std::stoll(span.at("endTimeUnixNano").get<std::string>()) >=
        std::stoll(span.at("startTimeUnixNano").get<std::string>()));
}

const Json& named(const std::vector<Json>& spans, const std::string& name,
                  const std::string& session = "s") {
  for (const Json& span : spans) {
    if (span.at("name") != name) continue;
    const auto all = attributes_of(span);
    const auto in = all.find("gen_ai.conversation.id");
    if (in == all.end() || in->second == session) return span;
  }
  FAIL("there is no span " << name);
  return spans.front();
}

}  // namespace

TEST_CASE("a chat is one trace of agents, calls and tools, as the conventions have it") {
  Collector collector;
  OtlpExporter exporter(to(collector));
  Runtime runtime;
  chat(exporter.observer(), runtime.clock().now());
  const auto sent = exporter.flush(runtime);
  REQUIRE_MESSAGE(sent.has_value(), sent.error().message);

  const auto spans = collector.spans();
  CHECK(spans.size() == 5);
  for (const Json& span : spans) {
    check_shape(span);
    CHECK(span.at("traceId") == spans.front().at("traceId"));
  }
  const Json& agent = named(spans, "invoke_agent writer");
  const Json& model = named(spans, "chat gpt-4o");
  const Json& tool = named(spans, "execute_tool look");
  const Json& branch = named(spans, "invoke_agent expert", "s/branch");
  const Json& refused = named(spans, "chat gpt-4o", "s/branch");
  CHECK_FALSE(agent.contains("parentSpanId"));
  CHECK(model.at("parentSpanId") == agent.at("spanId"));
  CHECK(tool.at("parentSpanId") == agent.at("spanId"));
  CHECK(branch.at("parentSpanId") == agent.at("spanId"));
  CHECK(refused.at("parentSpanId") == branch.at("spanId"));

  auto said = attributes_of(model);
  CHECK(model.at("kind") == 3);
  CHECK(said["gen_ai.operation.name"] == "chat");
  CHECK(said["gen_ai.provider.name"] == "openai");
  CHECK(said["gen_ai.usage.input_tokens"] == "100");
  CHECK(said["gen_ai.response.finish_reasons"].at("values").at(0).at("stringValue") == "stop");
  CHECK(model.at("startTimeUnixNano") == "1700000000000000000");
  CHECK(model.at("endTimeUnixNano") == "1700000000700000000");
  CHECK(attributes_of(refused)["error.type"] == "rate_limited");
  CHECK(refused.at("status").at("code") == 2);
  CHECK(tool.at("status").at("code") == 2);

  const Json traces = collector.body("/v1/traces");
  CHECK(attributes_of(traces.at("/resourceSpans/0/resource"_json_pointer))["service.name"] ==
        "shop");
  CHECK(collector.requests.front().header("Authorization") == "Bearer marked");
  CHECK(collector.requests.front().header("Content-Type") == "application/json");
  CHECK(traces.dump().find("nothing there") == std::string::npos);  // content is off
}

TEST_CASE("what tools were given and gave is there if it is asked for") {
  Collector collector;
  OtlpExporter exporter(to(collector, true));
  Runtime runtime;
  chat(exporter.observer(), runtime.clock().now());
  REQUIRE(exporter.flush(runtime));
  auto said = attributes_of(named(collector.spans(), "execute_tool look"));
  CHECK(said["gen_ai.tool.call.arguments"] == "{\"at\": 1}");
  CHECK(said["gen_ai.tool.call.result"] == "Error: nothing there");
}

TEST_CASE("tokens and durations are histograms that grow") {
  Collector collector;
  OtlpExporter exporter(to(collector));
  Runtime runtime;
  chat(exporter.observer(), runtime.clock().now());
  REQUIRE(exporter.flush(runtime));
  chat(exporter.observer(), runtime.clock().now());
  REQUIRE(exporter.flush(runtime));
  const Json metrics =
      collector.body("/v1/metrics").at("/resourceMetrics/0/scopeMetrics/0/metrics"_json_pointer);
  REQUIRE(metrics.size() == 2);
  CHECK(metrics[0].at("name") == "gen_ai.client.token.usage");
  CHECK(metrics[0].at("unit") == "{token}");
  CHECK(metrics[1].at("name") == "gen_ai.client.operation.duration");
  CHECK(metrics[1].at("unit") == "s");
  for (const Json& metric : metrics) {
    CHECK(metric.at("/histogram/aggregationTemporality"_json_pointer) == 2);
    for (const Json& point : metric.at("/histogram/dataPoints"_json_pointer)) {
      CHECK(point.at("bucketCounts").size() == point.at("explicitBounds").size() + 1);
      std::int64_t counted = 0;
      for (const Json& bucket : point.at("bucketCounts")) {
        counted += std::stoll(bucket.get<std::string>());
      }
      CHECK(std::to_string(counted) == point.at("count"));
    }
  }
  for (const Json& point : metrics[0].at("/histogram/dataPoints"_json_pointer)) {
    auto said = attributes_of(point);
    CHECK(point.at("count") == "2");
    CHECK(point.at("sum") == (said["gen_ai.token.type"] == "input" ? 200.0 : 40.0));
  }
}

TEST_CASE("a collector that refuses is an error, and what it did not take is sent again") {
  Collector collector("503 Service Unavailable");
  OtlpExporter exporter(to(collector));
  Runtime runtime;
  chat(exporter.observer(), runtime.clock().now());
  const auto refused = exporter.flush(runtime);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message.find("503") != std::string::npos);
  CHECK(refused.error().message.find("marked") == std::string::npos);
  {
    const std::scoped_lock lock(collector.mutex);
    collector.status = "200 OK";
    collector.requests.clear();
  }
  REQUIRE(exporter.flush(runtime));
  CHECK(collector.spans().size() == 5);
  CHECK(exporter.dropped() == 0);
}

TEST_CASE("without a collector spans are kept up to a bound, and the rest is counted") {
  OtlpExporter exporter(
      {.endpoint = "http://127.0.0.1:" + std::to_string(test::closed_port()), .max_spans = 8});
  Runtime runtime;
  for (int i = 0; i < 3; ++i) {
    chat(exporter.observer(), runtime.clock().now());
    CHECK_FALSE(exporter.flush(runtime).has_value());
  }
  CHECK(exporter.dropped() == 7);
}

TEST_CASE("an exporter may outlive the runtime that it was started on") {
  Collector collector;
  OtlpExporter exporter(to(collector));
  Runtime runtime({.observer = exporter.observer()});
  exporter.start(runtime);
  chat(exporter.observer(), runtime.clock().now());
  CHECK(exporter.flush(runtime));
  CHECK(collector.spans().size() == 5);
}

TEST_CASE("an exporter that was started sends by itself, and ends with its destructor") {
  Collector collector;
  Runtime runtime;
  OtlpOptions options = to(collector);
  options.interval = 1ms;
  OtlpExporter exporter(options);
  exporter.start(runtime);
  chat(exporter.observer(), runtime.clock().now());
  // The collector hears of it without a flush of ours.
  while (collector.spans().empty()) std::this_thread::yield();
}

}  // namespace moderato
