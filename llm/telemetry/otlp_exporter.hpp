#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <moderato/core/observer.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/core/secret.hpp>

namespace moderato {

struct OtlpOptions {
  /// Of a collector; "/v1/traces" and "/v1/metrics" are appended.
  std::string endpoint = "http://127.0.0.1:4318";
  /// Sent with every request ("Authorization", …).
  std::vector<std::pair<std::string, Secret>> headers{};
  std::string service_name = "moderato";
  /// Tools' arguments and results are attributes of their spans.
  bool content = false;
  /// How often what is there is sent.
  Duration interval = std::chrono::seconds(5);
  Duration timeout = std::chrono::seconds(10);  ///< Of one request.
  /// Finished spans that are kept until they are sent; more are dropped and counted.
  std::size_t max_spans = 4096;
};

/// Sends traces and metrics to an OpenTelemetry collector, by OTLP over HTTP with JSON and the
/// semantic conventions for generative AI:
///
///   OtlpExporter exporter({.service_name = "shop"});
///   Runtime runtime({.observer = exporter.observer()});
///   exporter.start(runtime);
///   …
///   exporter.flush(runtime);
///
/// Spans: invoke_agent for each chat, chat for each attempt at a model call, execute_tool for each
/// tool call; one trace a session, with those that it opened. Metrics: gen_ai.client.token.usage
/// and gen_ai.client.operation.duration. No content of messages unless it is asked for.
///
/// The observer only notes; nothing waits for a collector, and one that is not there disturbs
/// nobody: what could not be sent is kept up to `max_spans`, then dropped and counted. Thread safe.
class OtlpExporter {
 public:
  explicit OtlpExporter(OtlpOptions options = {});
  /// Ends what start() began.
  ~OtlpExporter();
  OtlpExporter(const OtlpExporter&) = delete;
  OtlpExporter& operator=(const OtlpExporter&) = delete;

  /// Outlives *this.
  [[nodiscard]] Observer observer();
  /// Sends every `interval`, on a fiber of this runtime. Not in a Simulation, whose time would
  /// never end.
  void start(Runtime& runtime);
  /// Sends now; blocks the thread or suspends the fiber. Errors: those of the connection, or
  /// `protocol` with the status with which the collector refused.
  Result<void> flush(Runtime& runtime);
  /// Spans that were dropped.
  [[nodiscard]] std::uint64_t dropped() const;

 private:
  class State;
  std::shared_ptr<State> state_;
  Task<void> sender_;
};

}  // namespace moderato
