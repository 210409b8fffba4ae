#include <moderato/core/prometheus.hpp>

#include <fmt/format.h>

#include <array>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <moderato/core/call_record.hpp>

namespace moderato {
namespace {

/// Boundaries in seconds; those that OpenTelemetry's conventions for generative AI give for
/// gen_ai.client.operation.duration.
constexpr std::array boundaries{0.01, 0.02, 0.04, 0.08,  0.16,  0.32,  0.64,
                                1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};

struct Histogram {
  std::array<std::uint64_t, boundaries.size()> at_most{};
  std::uint64_t count = 0;
  double sum = 0;

  void add(double seconds) {
    for (std::size_t i = 0; i < boundaries.size(); ++i) at_most[i] += seconds <= boundaries[i];
    ++count;
    sum += seconds;
  }
};

using Label = std::pair<const char*, std::string_view>;

/// `{model="gpt-4o",outcome="ok"}` without the braces.
std::string written(std::initializer_list<Label> labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (value.empty()) continue;
    if (!text.empty()) text += ',';
    text += name;
    text += "=\"";
    for (const char c : value) {
      if (c == '\\' || c == '"') text += '\\';
      if (c == '\n') {
        text += "\\n";
      } else {
        text += c;
      }
    }
    text += '"';
  }
  return text;
}

std::string braced(const std::string& labels) {
  return labels.empty() ? "" : "{" + labels + "}";
}

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

struct Counter {
  const char* name;
  const char* help;
  std::map<std::string, double> values{};
};
struct Timing {
  const char* name;
  const char* help;
  std::map<std::string, Histogram> values{};
};

}  // namespace

class PrometheusMetrics::State {
 public:
  explicit State(PrometheusOptions options) : options_(options) {}

  void take(const Event& event) {
    const std::scoped_lock lock(mutex_);
    std::visit([this](const auto& data) { count(data); }, event.data);
  }

  std::string text() const {
    const std::scoped_lock lock(mutex_);
    std::string out;
    for (const Counter* counter : {&attempts_, &tokens_, &cost_, &retries_, &queued_, &tools_,
                                   &chats_, &quota_changes_, &warnings_}) {
      head(out, counter->name, counter->help, "counter");
      for (const auto& [labels, value] : counter->values) {
        out += fmt::format("{}{} {}\n", counter->name, braced(labels), value);
      }
    }
    for (const Timing* timing : {&durations_, &waits_, &first_tokens_, &tool_durations_}) {
      head(out, timing->name, timing->help, "histogram");
      for (const auto& [labels, histogram] : timing->values) write(out, *timing, labels, histogram);
    }
    head(out, "moderato_metrics_dropped_total", "Values for which no series was left.", "counter");
    out += fmt::format("moderato_metrics_dropped_total {}\n", dropped_);
    return out;
  }

 private:
  static void head(std::string& out, const char* name, const char* help, const char* type) {
    out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  }
  static void write(std::string& out, const Timing& timing, const std::string& labels,
                    const Histogram& histogram) {
    const std::string more = labels.empty() ? "" : labels + ",";
    for (std::size_t i = 0; i < boundaries.size(); ++i) {
      out += fmt::format("{}_bucket{{{}le=\"{}\"}} {}\n", timing.name, more, boundaries[i],
                         histogram.at_most[i]);
    }
    out += fmt::format("{0}_bucket{{{1}le=\"+Inf\"}} {2}\n{0}_sum{3} {4}\n{0}_count{3} {2}\n",
                       timing.name, more, histogram.count, braced(labels), histogram.sum);
  }

  /// The value of a series; null if there are too many.
  template <class Family>
  auto* series(Family& family, std::initializer_list<Label> labels) {
    const std::string key = written(labels);
    auto found = family.values.find(key);
    if (found == family.values.end()) {
      if (series_ >= options_.max_series) {
        ++dropped_;
        return static_cast<decltype(&found->second)>(nullptr);
      }
      ++series_;
      found = family.values.try_emplace(key).first;
    }
    return &found->second;
  }
  void add(Counter& counter, double value, std::initializer_list<Label> labels) {
    if (double* sum = series(counter, labels)) *sum += value;
  }
  void add(Timing& timing, Duration duration, std::initializer_list<Label> labels) {
    if (Histogram* histogram = series(timing, labels)) histogram->add(seconds(duration));
  }

  void count(const CallFinished& event) { count(event.record); }
  void count(const CallRejected& event) { count(event.record); }
  void count(const CallRecord& record) {
    const std::string_view tenant = options_.by_tenant ? record.tenant : std::string_view();
    const std::string_view outcome = record.cached  ? "cached"
                                     : record.error ? to_string(*record.error)
                                                    : "ok";
    add(attempts_, 1,
        {{"model", record.model},
         {"purpose", to_string(record.purpose)},
         {"outcome", outcome},
         {"tenant", tenant}});
    const auto tokens = [&](std::int64_t number, const char* kind) {
      if (number == 0) return;
      add(tokens_, static_cast<double>(number),
          {{"model", record.model}, {"kind", kind}, {"tenant", tenant}});
    };
    tokens(record.usage.input, "input");
    tokens(record.usage.output, "output");
    if (record.cost > 0) add(cost_, record.cost, {{"model", record.model}, {"tenant", tenant}});
    if (record.attempt == 0) return;  // nothing was sent
    add(durations_, record.latency, {{"model", record.model}, {"outcome", outcome}});
    add(waits_, record.queue_wait, {{"model", record.model}});
    if (record.time_to_first_token) {
      add(first_tokens_, *record.time_to_first_token, {{"model", record.model}});
    }
  }
  void count(const CallRetried& event) { add(retries_, 1, {{"model", event.model}}); }
  void count(const CallQueued& event) {
    add(queued_, 1, {{"model", event.model}, {"reason", event.reason}});
  }
  void count(const ToolFinished& event) {
    add(tools_, 1, {{"tool", event.tool}, {"outcome", event.ok ? "ok" : "failed"}});
    add(tool_durations_, event.took, {{"tool", event.tool}});
  }
  void count(const Stopped& event) { add(chats_, 1, {{"reason", to_string(event.stop.reason)}}); }
  void count(const LimiterChanged& event) {
    add(quota_changes_, 1, {{"key", event.key}, {"state", event.state}});
  }
  void count(const Warning&) { add(warnings_, 1, {}); }
  template <class Other>
  void count(const Other&) {}

  const PrometheusOptions options_;
  mutable std::mutex mutex_;
  std::size_t series_ = 0;
  std::uint64_t dropped_ = 0;
  Counter attempts_{"moderato_call_attempts_total",
                    "Attempts at model calls, those that were refused before they were sent too."};
  Counter tokens_{"moderato_tokens_total", "Tokens that were charged."};
  Counter cost_{"moderato_cost_total", "Cost, in the unit of the models' prices."};
  Counter retries_{"moderato_call_retries_total", "Attempts after the first."};
  Counter queued_{"moderato_calls_queued_total", "Calls that had to wait for the quota."};
  Counter tools_{"moderato_tool_calls_total", "Tool calls."};
  Counter chats_{"moderato_chats_total", "Chats that ended, by the reason."};
  Counter quota_changes_{"moderato_quota_changes_total", "Changes of a quota's state."};
  Counter warnings_{"moderato_warnings_total", "Warnings."};
  Timing durations_{"moderato_call_duration_seconds", "From the permit to the last byte."};
  Timing waits_{"moderato_queue_wait_seconds", "From the ask to the permit."};
  Timing first_tokens_{"moderato_time_to_first_token_seconds", "Of streamed replies."};
  Timing tool_durations_{"moderato_tool_duration_seconds", "Of tool calls."};
};

PrometheusMetrics::PrometheusMetrics(PrometheusOptions options)
    : state_(std::make_shared<State>(options)) {}

Observer PrometheusMetrics::observer() {
  return [state = state_](const Event& event) { state->take(event); };
}

std::string PrometheusMetrics::text() const {
  return state_->text();
}

}  // namespace moderato
