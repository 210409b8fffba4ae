#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include <moderato/core/observer.hpp>

namespace moderato {

struct PrometheusOptions {
  /// Calls, tokens and cost also by tenant: one more time series for each.
  bool by_tenant = false;
  /// Time series that are kept; what would need a new one is counted in
  /// moderato_metrics_dropped_total.
  std::size_t max_series = 10'000;
};

/// Counts what happens in a service, and writes it in Prometheus' text format for whoever serves
/// its /metrics:
///
///   PrometheusMetrics metrics;
///   Runtime runtime({.observer = metrics.observer()});
///   …
///   respond("text/plain; version=0.0.4", metrics.text());
///
/// Attempts by model, purpose and outcome, tokens, cost, retries, calls that had to wait; durations
/// of attempts, of waiting and until the first token; tool calls; chats by the reason for which
/// they ended; changes of a quota's state. No content of messages. Thread safe.
class PrometheusMetrics {
 public:
  explicit PrometheusMetrics(PrometheusOptions options = {});

  /// Outlives *this.
  [[nodiscard]] Observer observer();
  /// All of it: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, 0.0.4).
  [[nodiscard]] std::string text() const;

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace moderato
