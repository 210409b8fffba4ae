#pragma once

#include <cstdint>
#include <deque>
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

/// A limit that is changed while the provider runs; 0: it stays.
struct SimulatedLimitChange {
  Duration after{};  ///< From the first request.
  std::int64_t requests_per_minute = 0;
  std::int64_t tokens_per_minute = 0;
};

/// The quota that a simulated provider defends. 0: no limit.
struct SimulatedQuotaOptions {
  std::int64_t requests_per_minute = 0;
  std::int64_t tokens_per_minute = 0;         ///< Of the larger of prompt and max_tokens.
  std::int64_t input_tokens_per_minute = 0;   ///< Of the prompt alone.
  std::int64_t output_tokens_per_minute = 0;  ///< Of max_tokens.
  std::int64_t max_in_flight = 0;
  QuotaEvaluator evaluator = QuotaEvaluator::minute_bucket;
  /// A refused request costs one request, as OpenAI documents it.
  bool rejects_charged = false;
  /// What somebody else takes of the same key all the time, as far as there is room for it.
  std::int64_t foreign_requests_per_minute = 0;
  std::int64_t foreign_tokens_per_minute = 0;
  /// In the order of their times. Only of limits that there are from the start.
  std::vector<SimulatedLimitChange> changes{};
  /// What is left of the tokens is stated in multiples of this; 1: exactly.
  std::int64_t round_remaining_tokens = 1;
  /// Headers repeat what the last request was told that came so long before.
  Duration headers_late_by{};
  /// Above 0: ten seconds may bring at most so many times the requests of the ten before (and
  /// `acceleration_floor` at least); one more is a 429 that says "acceleration limit".
  double acceleration = 0;
  std::int64_t acceleration_floor = 10;
};

/// One dimension of a provider's quota, as the provider counts it. Instants that go back count as
/// the latest one.
class QuotaMeter {
 public:
  QuotaMeter(std::int64_t limit, QuotaEvaluator evaluator);

  [[nodiscard]] bool fits(Instant now, std::int64_t amount);
  void charge(Instant now, std::int64_t amount);
  /// What is used stays used.
  void change_limit(Instant now, std::int64_t limit);
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
  QuotaEvaluator evaluator_;
  double capacity_;
  Duration window_{};  // 0: a bucket
  double used_ = 0.0;
  Instant at_{};
};

/// Why a request was refused, in the numbers of the provider's own message.
struct QuotaRefusal {
  /// "requests", "tokens", "input_tokens", "output_tokens", "concurrency", "acceleration".
  std::string dimension{};
  std::int64_t limit = 0;
  std::int64_t used = 0;  ///< limit − what could be used now; may exceed the limit.
  std::int64_t requested = 0;
  Duration wait{};
  bool too_large = false;  ///< It can never fit; `wait` says nothing.
};

/// How fast the number of requests may grow.
class AccelerationMeter {
 public:
  AccelerationMeter(double factor, std::int64_t floor) : factor_(factor), floor_(floor) {}
  [[nodiscard]] bool fits(Instant now);
  void charge(Instant now);

 private:
  void advance(Instant now);
  double factor_;
  std::int64_t floor_;
  std::int64_t window_ = 0;
  std::int64_t before_ = 0;  // requests of the window before
  std::int64_t now_ = 0;
};

/// All dimensions of one key. Not thread safe; time is a parameter.
class SimulatedQuota {
 public:
  explicit SimulatedQuota(const SimulatedQuotaOptions& options);

  /// Charges one request and takes a slot, or says why not. `output`: its max_tokens, 0 without.
  [[nodiscard]] std::optional<QuotaRefusal> admit(Instant now, std::int64_t input,
                                                  std::int64_t output);
  /// Charges one request of `tokens`, whatever they are.
  [[nodiscard]] std::optional<QuotaRefusal> admit(Instant now, std::int64_t tokens) {
    return admit(now, tokens, 0);
  }
  /// The slot of an admitted request is free again.
  void release() noexcept { --in_flight_; }
  [[nodiscard]] std::int64_t in_flight() const noexcept { return in_flight_; }
  /// x-ratelimit-* headers of a response at `now`.
  using Headers = std::vector<std::pair<std::string, std::string>>;
  [[nodiscard]] Headers headers(Instant now);

 private:
  void pass_time(Instant now);
  [[nodiscard]] Headers true_headers(Instant now);

  SimulatedQuotaOptions options_;
  std::optional<QuotaMeter> requests_;
  std::optional<QuotaMeter> tokens_;
  std::optional<QuotaMeter> input_;
  std::optional<QuotaMeter> output_;
  std::optional<Instant> began_;
  Instant passed_{};
  double foreign_requests_ = 0;  // due, and not taken yet
  double foreign_tokens_ = 0;
  std::size_t changes_made_ = 0;
  std::int64_t in_flight_ = 0;
  std::optional<AccelerationMeter> acceleration_;
  std::deque<std::pair<Instant, Headers>> told_later_;
};

/// A duration as OpenAI writes it, rounded up to a millisecond: "424ms", "41.724s", "6m0s".
[[nodiscard]] std::string quota_duration_text(Duration duration);

}  // namespace moderato
