// The limiter beside what people use without one, in virtual time: 8 processes with 64 chats that
// ask again as soon as they are answered, one process holding half of them, 5.5 times what 200,000
// tokens and 500 requests a minute allow, for 30 minutes of which the first 5 are not counted. The
// limiter meets the provider's law here directly, without a Model around it, so that costs are
// exactly those of the distribution. One line for each way of limiting and each law of the
// provider. Deterministic: same seed, same lines.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <moderato/core/simulation.hpp>
#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/providers/simulated_quota.hpp>
#include <random>
#include <string>
#include <vector>

#include "scores.hpp"

namespace {

using namespace moderato;
using namespace std::chrono_literals;
using namespace moderato::bench;

constexpr std::int64_t rpm = 500;
constexpr std::int64_t tpm = 200'000;
constexpr std::size_t processes = 8;
constexpr std::size_t chat_count = 64;
constexpr std::size_t tenant_count = 4;
constexpr Duration whole = 30min;
constexpr Duration dropped = 5min;

enum class Policy { shared, patient, split, window, retries };
constexpr std::array<const char*, 5> policy_names{"moderato, shared key", "same, no max_queue_time",
                                                  "quota / 8 each", "shared window, rejects",
                                                  "retries only (SDK)"};

/// What is counted after the warm-up.
struct Score {
  double tokens = 0;
  std::int64_t successes = 0;
  std::int64_t attempts = 0;
  std::int64_t refused = 0;
  std::int64_t turns = 0;
  std::int64_t failed = 0;
  double busy = 0;  // latency and thinking of successes, in seconds
  std::vector<double> chats = std::vector<double>(chat_count);
  std::vector<double> tenants = std::vector<double>(tenant_count);
  std::vector<double> waits;
  std::string why{};  // the first error that ended a turn
};

/// One way of limiting against one law of the provider.
class Run {
 public:
  Run(Policy policy, const SimulatedQuotaOptions& law, std::uint64_t seed)
      : policy_(policy), provider_(law), seed_(seed) {
    if (policy == Policy::shared || policy == Policy::patient) {
      QuotaOptions options{.requests_per_minute = rpm, .tokens_per_minute = tpm};
      if (policy == Policy::patient) options.queue.max_queue_time = std::chrono::hours(100'000);
      limiters_ = shared_quota(options, processes);
    } else if (policy == Policy::split) {
      for (std::size_t i = 0; i < processes; ++i) {
        limiters_.push_back(
            quota({.requests_per_minute = rpm / processes, .tokens_per_minute = tpm / processes}));
      }
    }
  }

  Score measure() {
    begin_ = world_.clock().now();
    for (std::size_t chat = 0; chat < chat_count; ++chat) {
      world_.spawn([this, chat] { hold(chat); });
    }
    world_.run();
    return std::move(score_);
  }

 private:
  [[nodiscard]] Instant now() const { return world_.clock().now(); }
  [[nodiscard]] bool counted() const { return now() - begin_ >= dropped && now() - begin_ < whole; }

  void hold(std::size_t chat) {
    std::mt19937_64 random(seed_ * 1'000 + chat);
    std::lognormal_distribution<double> cost(std::log(2000.0) - 0.32, 0.8);
    std::lognormal_distribution<double> latency(std::log(6.0) - 0.125, 0.5);
    std::exponential_distribution<double> think(1.0);
    sleep_for(from_seconds(think(random)));
    while (now() - begin_ < whole) {
      const auto tokens = static_cast<std::int64_t>(std::clamp(cost(random), 200.0, 20'000.0));
      const double answer = latency(random);
      const Instant asked = now();
      const bool ok = turn(chat, tokens, from_seconds(answer), random);
      const double pause = think(random);
      if (counted()) {
        ++score_.turns;
        if (!ok) ++score_.failed;
        if (ok) {
          const auto amount = static_cast<double>(tokens);
          score_.tokens += amount;
          score_.chats[chat] += amount;
          score_.tenants[chat % tenant_count] += amount;
          score_.waits.push_back(std::max(0.0, seconds_of(now() - asked) - answer));
          score_.busy += answer + pause;
          ++score_.successes;
        }
      }
      sleep_for(from_seconds(pause));
    }
  }

  /// One turn with up to three tries, as the SDKs have it.
  bool turn(std::size_t chat, std::int64_t tokens, Duration answer, std::mt19937_64& random) {
    std::uniform_real_distribution<double> part(0.0, 1.0);
    const std::string tenant = fmt::format("t{}", chat % tenant_count);
    const CallContext context{.session = fmt::format("chat {}", chat), .tenant = tenant};
    for (int attempt = 1; attempt <= 3; ++attempt) {
      Permit permit;
      if (!limiters_.empty()) {
        auto granted = limiters_[process_of(chat)].acquire(
            {.input_tokens = tokens, .attempt = attempt}, context, world_.clock());
        if (!granted) {
          if (score_.why.empty()) score_.why = to_string(granted.error());
          return false;
        }
        permit = std::move(*granted);
      } else if (policy_ == Policy::window) {
        while (const auto own = window_.admit(now(), tokens)) {
          sleep_for(own->wait + from_seconds(part(random)));
        }
      }
      sleep_for(from_seconds(0.02 - 0.02 * std::log(1.0 - part(random))));
      const auto refusal = provider_.admit(now(), tokens);
      if (counted()) {
        ++score_.attempts;
        if (refusal) ++score_.refused;
      }
      if (!refusal) {
        sleep_for(answer);
        permit.settle({.kind = Outcome::Kind::succeeded, .input_tokens = tokens});
        return true;
      }
      Outcome outcome{
          .kind = Outcome::Kind::rejected, .error = ErrorCode::rate_limited, .http_status = 429};
      outcome.signal.retry_after = refusal->wait;
      permit.settle(outcome);
      if (limiters_.empty()) sleep_for(refusal->wait + from_seconds(0.25 * part(random)));
    }
    return false;
  }

  [[nodiscard]] static std::size_t process_of(std::size_t chat) {
    return chat < chat_count / 2 ? 0 : 1 + chat % (processes - 1);
  }

  Simulation world_{SimulationOptions{.keep_event_log = false}};
  Policy policy_;
  SimulatedQuota provider_;
  SimulatedQuota window_{{.requests_per_minute = rpm,
                          .tokens_per_minute = tpm,
                          .evaluator = QuotaEvaluator::minute_counter}};
  std::uint64_t seed_;
  std::vector<Limiter> limiters_;
  Instant begin_{};
  Score score_;
};

void print_line(std::string_view law, Policy policy, Score score) {
  const double time = seconds_of(whole - dropped);
  const auto successes = static_cast<double>(std::max<std::int64_t>(score.successes, 1));
  // Little's law: what N closed loops at this throughput must wait, whatever the order.
  const double floor =
      std::max(0.0, static_cast<double>(chat_count) * time / successes - score.busy / successes);
  if (score.successes == 0) {
    fmt::print("{:<15} {:<24} {:>6.3f} nothing passes: {} of {} attempts refused\n", law,
               policy_names[static_cast<std::size_t>(policy)], 0.0, score.refused, score.attempts);
    return;
  }
  fmt::print(
      "{:<15} {:<24} {:>6.4f} {:>8.1f} {:>7.1f}% {:>7.3f} {:>6.3f} {:>6.3f} {:>7.1f} "
      "{:>7.1f} {:>7.1f}\n",
      law, policy_names[static_cast<std::size_t>(policy)],
      score.tokens / (static_cast<double>(tpm) * time / 60),
      1000.0 * static_cast<double>(score.refused) / successes,
      100.0 * static_cast<double>(score.failed) /
          static_cast<double>(std::max<std::int64_t>(score.turns, 1)),
      static_cast<double>(score.attempts) / successes, jain(score.tenants), jain(score.chats),
      percentile(score.waits, 0.5), percentile(score.waits, 0.99), floor);
  if (!score.why.empty()) fmt::print("    first failed turn: {}\n", score.why);
}

}  // namespace

int main() {
  struct Law {
    const char* name;
    SimulatedQuotaOptions options;
  };
  const std::array<Law, 3> laws{
      Law{"minute-bucket", {.requests_per_minute = rpm, .tokens_per_minute = tpm}},
      Law{"rejects-charged",
          {.requests_per_minute = rpm, .tokens_per_minute = tpm, .rejects_charged = true}},
      Law{"10s, charged",
          {.requests_per_minute = rpm,
           .tokens_per_minute = tpm,
           .evaluator = QuotaEvaluator::ten_second_bucket,
           .rejects_charged = true}}};
  fmt::print("{:<15} {:<24} {:>6} {:>8} {:>8} {:>7} {:>6} {:>6} {:>7} {:>7} {:>7}\n", "provider",
             "limited by", "eta", "429/1000", "failed", "att/ok", "J ten", "J chat", "p50 s",
             "p99 s", "floor s");
  bool reached = true;
  for (const Law& law : laws) {
    for (const Policy policy :
         {Policy::shared, Policy::patient, Policy::split, Policy::window, Policy::retries}) {
      Score score = Run(policy, law.options, 1).measure();
      if (policy == Policy::shared) {
        const double eta =
            score.tokens / (static_cast<double>(tpm) * seconds_of(whole - dropped) / 60);
        reached = reached && eta >= 0.985 && score.refused == 0 && score.failed == 0 &&
                  jain(score.tenants) >= 0.99;
      }
      print_line(law.name, policy, std::move(score));
    }
  }
  fmt::print(
      "target of the shared key (eta >= 0.985, no 429, no failed turn, Jain of tenants >= "
      "0.99): {}\n",
      reached ? "reached" : "MISSED");
  return reached ? 0 : 1;
}
