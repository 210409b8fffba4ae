#include <moderato/llm/tokens/reply_length.hpp>

#include <algorithm>
#include <cmath>

// Why not always the default
//
// Without a cap nobody knows how long a reply will be. Reserving 1,024 tokens for replies of 30
// keeps the quota's tokens for as long as a call takes: at 100,000 a minute some five calls fit
// into a burst of three seconds, and the next ones wait for what will be given back. Replies of one
// model and one program are much alike, so their own average says more than any default.

namespace moderato {
namespace {

constexpr double weight = 0.1;
constexpr std::int64_t fewest = 16;

}  // namespace

std::int64_t ReplyLength::expected(std::int64_t most) const {
  const std::scoped_lock lock(mutex_);
  if (replies_ < replies_needed) return most;
  const std::int64_t likely = std::llround(std::ceil(mean_ + 2 * deviation_));
  return std::min(std::max(likely, fewest), most);
}

void ReplyLength::learn(std::int64_t tokens) {
  const auto length = static_cast<double>(std::max<std::int64_t>(tokens, 0));
  const std::scoped_lock lock(mutex_);
  const double step = replies_ == 0 ? 1.0 : std::max(weight, 1.0 / (replies_ + 1));
  deviation_ += step * (std::abs(length - (replies_ == 0 ? length : mean_)) - deviation_);
  mean_ += step * (length - mean_);
  if (replies_ < replies_needed) ++replies_;
}

}  // namespace moderato
