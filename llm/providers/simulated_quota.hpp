#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moderato/core/time.hpp>

namespace moderato {

/// How a provider counts a quota that it states by the minute.
enum class QuotaEvaluator : std::uint8_t {
  minute_bucket,      ///< A bucket that holds a minute's quota and refills evenly (OpenAI, Groq).
  ten_second_bucket,  ///< A bucket that holds 10 s of quota.
  one_second_window,  ///< At most a second's share in each second (Azure, with Azure's words).
  minute_counter,     ///< A counter that is reset at each full minute.
};

/// "minute-bucket", "10s", "1s-window", "minute-counter".
[[nodiscard]] std::string_view to_string(QuotaEvaluator evaluator) noexcept;
[[nodiscard]] std::optional<QuotaEvaluator> quota_evaluator_from_string(
    std::string_view name) noexcept;

/// The quota that a simulated provider defends. 0: no limit.
struct SimulatedQuotaOptions {
  std::int64_t requests_per_minute = 0;
  std::int64_t tokens_per_minute = 0;
  std::int64_t max_in_flight = 0;
  QuotaEvaluator evaluator = QuotaEvaluator::minute_bucket;
  /// A refused request costs one request, as OpenAI documents it.
  bool rejects_charged = false;
};

/// One dimension of a provider's quota, as the provider counts it. Instants that go back count as
/// the latest one.
class QuotaMeter {
 public:
  QuotaMeter(std::int64_t limit, QuotaEvaluator evaluator);

  [[nodiscard]] bool fits(Instant now, std::int64_t amount);
  void charge(Instant now, std::int64_t amount);
  [[nodiscard]] std::int64_t limit() const noexcept { return limit_; }
  /// What could be used now; negative: debt.
  [[nodiscard]] std::int64_t remaining(Instant now);
  /// How long a request that does not fit is told to wait; after that it fits, if nothing else is
  /// charged.
  [[nodiscard]] Duration wait(Instant now, std::int64_t amount);
  /// What the reset header states.
  [[nodiscard]] Duration reset(Instant now);

 private:
  void advance(Instant now);
  [[nodiscard]] bool windowed() const noexcept { return window_ > Duration::zero(); }
  [[nodiscard]] Duration refill_time(std::int64_t amount) const noexcept;
  [[nodiscard]] Duration left_of_window() const noexcept;

  std::int64_t limit_;
  double capacity_;
  Duration window_{};  // 0: a bucket
  double used_ = 0.0;
  Instant at_{};
};

/// Why a request was refused, in the numbers of the provider's own message.
struct QuotaRefusal {
  std::string dimension{};  ///< "requests", "tokens", "concurrency".
  std::int64_t limit = 0;
  std::int64_t used = 0;  ///< limit − what could be used now; may exceed the limit.
  std::int64_t requested = 0;
  Duration wait{};
  bool too_large = false;  ///< It can never fit; `wait` says nothing.
};

/// All dimensions of one key. Not thread safe; time is a parameter.
class SimulatedQuota {
 public:
  explicit SimulatedQuota(const SimulatedQuotaOptions& options);

  /// Charges one request of `tokens` and takes a slot, or says why not.
  [[nodiscard]] std::optional<QuotaRefusal> admit(Instant now, std::int64_t tokens);
  /// The slot of an admitted request is free again.
  void release() noexcept { --in_flight_; }
  [[nodiscard]] std::int64_t in_flight() const noexcept { return in_flight_; }
  /// x-ratelimit-* headers of a response at `now`.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> headers(Instant now);

 private:
  SimulatedQuotaOptions options_;
  std::optional<QuotaMeter> requests_;
  std::optional<QuotaMeter> tokens_;
  std::int64_t in_flight_ = 0;
};

/// A duration as OpenAI writes it, rounded up to a millisecond: "424ms", "41.724s", "6m0s".
[[nodiscard]] std::string quota_duration_text(Duration duration);

}  // namespace moderato
