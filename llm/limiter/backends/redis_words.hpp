#pragma once

// Private header of the library: not installed.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <moderato/llm/limiter/ask.hpp>

/// What goes to the scripts as text, and comes back as numbers.
namespace moderato::redis_words {

inline constexpr std::size_t acquire_script = 0;
inline constexpr std::size_t tell_script = 1;

/// Instants on the server's clock.
inline std::int64_t micros_of(Instant at) {
  return std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch()).count();
}
inline Instant instant_of(std::int64_t micros) {
  return Instant(std::chrono::microseconds(micros));
}

inline void push(std::vector<std::string>& words, const Ask& ask) {
  for (const auto amount : {ask.requests, ask.input_tokens, ask.output_tokens, ask.micros}) {
    words.push_back(std::to_string(amount));
  }
}

}  // namespace moderato::redis_words
