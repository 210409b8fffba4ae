#include <doctest/doctest.h>

#include <moderato/core/prometheus.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <string>

using namespace moderato;
using namespace std::chrono_literals;

namespace {

bool has(const std::string& text, std::string_view line) {
  return ("\n" + text).find("\n" + std::string(line) + "\n") != std::string::npos;
}

CallRecord answered() {
  return {.tenant = "acme",
          .purpose = Purpose::reply,
          .model = "gpt-4o",
          .attempt = 1,
          .usage = {.input = 100, .output = 20},
          .cost = 0.5,
          .queue_wait = 3s,
          .latency = 700ms,
          .time_to_first_token = 50ms};
}

/// The names of samples whose family was not announced, or lines that are none.
std::string faults(const std::string& text) {
  static const std::regex sample(
      R"(([a-z_]+?)(_bucket|_sum|_count)?(\{([a-z_]+="([^"\\]|\\.)*",?)+\})? [-+0-9.e]+)");
  std::set<std::string> announced;
  std::istringstream lines(text);
  std::string wrong;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string mark;
    std::string kind;
    std::string name;
    words >> mark >> kind >> name;
    if (mark == "#") {
      if (kind == "TYPE") announced.insert(name);
      continue;
    }
    std::smatch match;
    if (!std::regex_match(line, match, sample)) {
      wrong += line + "\n";
    } else if (!announced.contains(match[1]) &&
               !announced.contains(match[1].str() + match[2].str())) {
      wrong += "not announced: " + line + "\n";
    }
  }
  return wrong;
}

}  // namespace

TEST_CASE("metrics count calls, tokens, cost and times") {
  PrometheusMetrics metrics;
  const Observer observer = metrics.observer();
  observer({.data = CallFinished{answered()}});
  CallRecord refused = answered();
  refused.error = ErrorCode::rate_limited;
  refused.usage = {};
  refused.cost = 0;
  observer({.data = CallRejected{.record = refused}});
  observer({.data = CallRetried{.model = "gpt-4o"}});
  observer({.data = CallQueued{.model = "gpt-4o", .reason = "tokens"}});
  observer({.data = ToolFinished{.tool = "look", .ok = false, .took = 30ms}});
  observer({.data = Stopped{.stop = {.reason = StopReason::max_turns}}});
  const std::string text = metrics.text();
  CAPTURE(text);
  CHECK(faults(text) == "");
  CHECK(
      has(text, R"(moderato_call_attempts_total{model="gpt-4o",purpose="reply",outcome="ok"} 1)"));
  CHECK(has(
      text,
      R"(moderato_call_attempts_total{model="gpt-4o",purpose="reply",outcome="rate_limited"} 1)"));
  CHECK(has(text, R"(moderato_tokens_total{model="gpt-4o",kind="input"} 100)"));
  CHECK(has(text, R"(moderato_tokens_total{model="gpt-4o",kind="output"} 20)"));
  CHECK(has(text, R"(moderato_cost_total{model="gpt-4o"} 0.5)"));
  CHECK(has(text, R"(moderato_call_retries_total{model="gpt-4o"} 1)"));
  CHECK(has(text, R"(moderato_calls_queued_total{model="gpt-4o",reason="tokens"} 1)"));
  CHECK(has(text, R"(moderato_tool_calls_total{tool="look",outcome="failed"} 1)"));
  CHECK(has(text, R"(moderato_chats_total{reason="max_turns"} 1)"));
  CHECK(has(text,
            R"(moderato_call_duration_seconds_bucket{model="gpt-4o",outcome="ok",le="0.64"} 0)"));
  CHECK(has(text,
            R"(moderato_call_duration_seconds_bucket{model="gpt-4o",outcome="ok",le="1.28"} 1)"));
  CHECK(has(text,
            R"(moderato_call_duration_seconds_bucket{model="gpt-4o",outcome="ok",le="+Inf"} 1)"));
  CHECK(has(text, R"(moderato_queue_wait_seconds_count{model="gpt-4o"} 2)"));
  CHECK(has(text, R"(moderato_queue_wait_seconds_sum{model="gpt-4o"} 6)"));
  CHECK(text.find("acme") == std::string::npos);
}

TEST_CASE("tenants have series of their own if they are asked for, and names are escaped") {
  PrometheusMetrics metrics({.by_tenant = true});
  CallRecord record = answered();
  record.tenant = "a \"b\"\\\nc";
  metrics.observer()({.data = CallFinished{record}});
  const std::string text = metrics.text();
  CHECK(faults(text) == "");
  CHECK(text.find(R"(tenant="a \"b\"\\\nc")") != std::string::npos);
}

TEST_CASE("the number of series is bounded, and what was dropped is counted") {
  PrometheusMetrics metrics({.max_series = 3});
  const Observer observer = metrics.observer();
  for (int i = 0; i < 10; ++i) {
    observer({.data = CallRetried{.model = "model " + std::to_string(i)}});
  }
  CHECK(has(metrics.text(), "moderato_metrics_dropped_total 7"));
}
