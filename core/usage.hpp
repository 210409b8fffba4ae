#pragma once

#include <cstdint>

namespace moderato {

/// Where a token count comes from.
enum class UsageSource : std::uint8_t {
  none,       ///< No call was charged.
  measured,   ///< The provider said so.
  estimated,  ///< The provider said nothing; counted by the TokenEstimator.
  reserved,   ///< Unknown outcome (cancelled, timed out): the whole reservation is charged.
};

/// Text tokens of one call or of many. `input` includes `cached_input`; `output` includes
/// `reasoning`.
struct Usage {
  std::int64_t input = 0;
  std::int64_t output = 0;
  std::int64_t cached_input = 0;
  std::int64_t reasoning = 0;
  /// The least certain source of all that was added up.
  UsageSource source = UsageSource::none;

  [[nodiscard]] std::int64_t total() const noexcept { return input + output; }
  Usage& operator+=(const Usage& other) noexcept {
    input += other.input;
    output += other.output;
    cached_input += other.cached_input;
    reasoning += other.reasoning;
    if (other.source > source) source = other.source;
    return *this;
  }
  bool operator==(const Usage&) const = default;
};

/// Money for tokens, in one currency (US dollars by convention), per 1,000,000 tokens.
struct Price {
  double input_per_million = 0.0;
  double output_per_million = 0.0;
  /// Cached input; negative: the same as input.
  double cached_input_per_million = -1.0;

  [[nodiscard]] double of(const Usage& usage) const noexcept {
    const double cached_rate =
        cached_input_per_million < 0 ? input_per_million : cached_input_per_million;
    return (static_cast<double>(usage.input - usage.cached_input) * input_per_million +
            static_cast<double>(usage.cached_input) * cached_rate +
            static_cast<double>(usage.output) * output_per_million) /
           1e6;
  }
  bool operator==(const Price&) const = default;
};

}  // namespace moderato
