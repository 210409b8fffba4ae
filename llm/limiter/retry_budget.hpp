#pragma once

// Private header of the library: not installed.

#include <cstdint>

#include <moderato/core/time.hpp>

namespace moderato {

/// How many retries a key may afford: a tenth of its first attempts. When a provider fails every
/// call, retries then add a tenth to the load instead of multiplying it. Pure; not thread safe.
///
/// Each first attempt earns 0.1 retries, up to max(2, 10 s of quota · 0.1), where it starts; a
/// retry costs 1. When nothing is left one retry may go every 10 s, so that a client with little
/// traffic can still learn that the provider is back.
class RetryBudget {
 public:
  /// requests_per_second 0: unknown.
  explicit RetryBudget(double requests_per_second = 0) noexcept;

  void count_first_attempt() noexcept;
  /// Takes one retry; false: wait for other calls to earn it, or give up.
  [[nodiscard]] bool take(Instant now) noexcept;
  [[nodiscard]] double left() const noexcept { return static_cast<double>(left_) / one; }

 private:
  static constexpr std::int64_t one = 10;  // counted in tenths, so that ten of them are one
  std::int64_t capacity_;
  std::int64_t left_;
  Instant last_retry_ = Instant::min();
};

}  // namespace moderato
