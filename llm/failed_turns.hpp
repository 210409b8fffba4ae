#pragma once

// Private header of the library: not installed.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>

#include <moderato/core/time.hpp>

namespace moderato {

/// The calls that failed lately, by what they asked: whoever asks exactly the same again is
/// retrying around our retries. Thread safe.
class FailedTurns {
 public:
  /// A failure is remembered for so long.
  static constexpr Duration memory = std::chrono::seconds(60);

  struct Failure {
    std::uint64_t turn = 0;
    Instant at{};
    int attempts = 0;  ///< Of ours, in all calls that asked this.
  };
  void failed(std::uint64_t turn, Instant now, int attempts);
  void succeeded(std::uint64_t turn);
  /// What is known of a turn that failed within `memory`.
  [[nodiscard]] std::optional<Failure> lately(std::uint64_t turn, Instant now) const;

 private:
  static constexpr std::size_t capacity = 1024;  // the oldest is overwritten
  [[nodiscard]] Failure* find(std::uint64_t turn);

  mutable std::mutex mutex_;
  std::atomic<std::size_t> count_{0};  // a look without the lock: nothing failed
  std::array<Failure, capacity> failures_{};
  std::size_t next_ = 0;
};

}  // namespace moderato
