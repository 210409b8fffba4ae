#include <moderato/llm/limiter/retry_budget.hpp>

#include <algorithm>
#include <chrono>

namespace moderato {
namespace {

constexpr Duration always_one_in = std::chrono::seconds(10);

}  // namespace

RetryBudget::RetryBudget(double requests_per_second) noexcept
    : capacity_(std::max(2 * one, static_cast<std::int64_t>(requests_per_second * 10.0))),
      left_(capacity_) {}

void RetryBudget::count_first_attempt() noexcept {
  left_ = std::min(left_ + 1, capacity_);
}

bool RetryBudget::take(Instant now) noexcept {
  if (left_ >= one) {
    left_ -= one;
  } else if (last_retry_ != Instant::min() && now - last_retry_ < always_one_in) {
    return false;
  }
  last_retry_ = now;
  return true;
}

}  // namespace moderato
