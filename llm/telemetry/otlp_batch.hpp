#pragma once

// Private header of the library: not installed.

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <moderato/core/call_record.hpp>
#include <moderato/core/clock.hpp>
#include <moderato/core/json.hpp>

namespace moderato {

using OtlpAttributes = std::vector<std::pair<std::string, Json>>;

/// A span that has ended. Numbers name spans; 0: none.
struct OtlpSpan {
  std::uint64_t number = 0;
  std::uint64_t parent = 0;
  std::string session{};
  std::string name{};
  bool client = false;  ///< Else internal.
  std::variant<Instant, WallTime> began{};
  Duration took{};
  OtlpAttributes attributes{};
  std::string error{};  ///< Its type; empty: none.
};

/// Boundaries as the semantic conventions give them for the two metrics.
inline constexpr std::array<double, 14> otlp_token_boundaries{
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864};
inline constexpr std::array<double, 14> otlp_duration_boundaries{
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};

struct OtlpHistogram {
  std::array<std::uint64_t, 15> buckets{};
  std::uint64_t count = 0;
  double sum = 0;
  void add(double value, const std::array<double, 14>& boundaries);
};
/// By attributes, written as JSON.
using OtlpSeries = std::map<std::string, OtlpHistogram>;

/// Where times and names of a batch come from.
struct OtlpFrame {
  const Clock& clock;
  std::uint64_t seed = 0;  ///< Of this process's ids.
  WallTime began{};        ///< Since when metrics are summed up.
  std::string service_name{};
};

/// Bodies for /v1/traces and /v1/metrics.
[[nodiscard]] Json otlp_traces(const std::vector<OtlpSpan>& spans, const OtlpFrame& frame);
[[nodiscard]] Json otlp_metrics(const OtlpSeries& tokens, const OtlpSeries& durations,
                                const OtlpFrame& frame);
/// [{"key": …, "value": {"stringValue": …}}, …]
[[nodiscard]] Json otlp_attributes(const OtlpAttributes& attributes);

}  // namespace moderato
