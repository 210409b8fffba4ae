#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <mutex>

namespace moderato {

/// How many tokens the replies of a model take when no request caps them: what a quota is asked
/// for. One per Model. Thread safe.
class ReplyLength {
 public:
  /// Replies that are looked at before there is an opinion.
  static constexpr int replies_needed = 8;

  /// The mean and two mean deviations (exponential averages, weight 0.1), at least 16 and at most
  /// `most`; `most` as long as too few replies have been seen. A longer reply is paid when it is
  /// settled: the quota waits until then.
  [[nodiscard]] std::int64_t expected(std::int64_t most) const;
  void learn(std::int64_t tokens);

 private:
  mutable std::mutex mutex_;
  int replies_ = 0;
  double mean_ = 0;
  double deviation_ = 0;
};

}  // namespace moderato
