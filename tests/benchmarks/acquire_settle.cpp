// What passing the limiter costs a call that does not have to wait, beside the least that any
// thread-safe limiter pays: one lock, one unlock and one look at the clock.
//
//   bench_acquire_settle [ROUNDS]

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string>

#include <moderato/core/clock.hpp>
#include <moderato/llm/limiter/limiter.hpp>

namespace {

using namespace moderato;

constexpr int batch = 200'000;

/// Nanoseconds for each call of f, the best of `rounds` batches (the others had company).
template <class F>
double best_of(int rounds, F&& f) {
  double best = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < batch; ++i) f();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count() / batch);
  }
  return best;
}

double acquire_and_settle(Limiter limiter, int rounds) {
  const SteadyClock clock;
  const CallContext context{};
  const Ask ask{.input_tokens = 900, .output_tokens = 100};
  const Outcome outcome{.kind = Outcome::Kind::succeeded, .input_tokens = 900, .output_tokens = 60};
  std::uint64_t refused = 0;
  const double ns = best_of(rounds, [&] {
    auto permit = limiter.acquire(ask, context, clock);
    if (permit) {
      permit->settle(outcome);
    } else {
      ++refused;
    }
  });
  if (refused > 0) {
    fmt::print(stderr, "{} acquires were refused: nothing was measured\n", refused);
    std::exit(1);
  }
  return ns;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 15;
  const SteadyClock clock;
  std::mutex mutex;
  std::int64_t sink = 0;
  const double floor = best_of(rounds, [&] {
    const Instant now = clock.now();
    const std::scoped_lock lock(mutex);
    sink += now.time_since_epoch().count() & 1;
  });
  const double three = acquire_and_settle(quota({.requests_per_minute = 2'000'000'000'000,
                                                 .tokens_per_minute = 2'000'000'000'000'000,
                                                 .max_in_flight = 8}),
                                          rounds);
  const double slots = acquire_and_settle(quota({.max_in_flight = 8}), rounds);
  const double none = acquire_and_settle(unlimited(), rounds);
  fmt::print("lock + unlock + clock read                {:7.1f} ns\n", floor);
  const auto line = [&](const char* what, double ns) {
    fmt::print("{:<40}  {:7.1f} ns  {:5.2f} x the floor of two\n", what, ns, ns / (2 * floor));
  };
  line("acquire + settle, 3 dimensions", three);
  line("acquire + settle, calls in flight only", slots);
  line("acquire + settle, unlimited", none);
  return sink < 0 ? 1 : 0;
}
