// The limiter alone, beside other limiters: acquire and settle, counted as one. One JSON line a
// mode.
//
//   limiter_contender [--seconds S] [--inflight N] [--redis-port P] [MODE…]
//
// Modes: in_process, shared_host, redis (with --redis-port). `inflight` threads take and settle as
// fast as they can from a quota that never says no.

#include <fmt/format.h>

#include <unistd.h>
#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <moderato/llm/limiter/backends/redis_backend.hpp>
#include <moderato/moderato.hpp>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace moderato;

struct Flags {
  double seconds = 1;
  int inflight = 1;
  int redis_port = 0;
  std::vector<std::string> modes{"in_process", "shared_host"};
};

const QuotaOptions plenty{.requests_per_minute = 2'000'000'000'000,
                          .tokens_per_minute = 2'000'000'000'000'000,
                          .max_in_flight = 100'000};

struct Figures {
  std::uint64_t acquires = 0;
  double wall_s = 0;
  double cpu_s = 0;
};

/// Takes and settles on `inflight` threads until the time is over.
Figures measure(Limiter limiter, const Flags& flags) {
  const SteadyClock clock;
  const Ask ask{.input_tokens = 900, .output_tokens = 100};
  const Outcome outcome{.kind = Outcome::Kind::succeeded, .input_tokens = 900, .output_tokens = 60};
  std::atomic<std::uint64_t> acquires{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  const auto cpu = std::clock();
  const Instant begin = clock.now();
  for (int i = 0; i < flags.inflight; ++i) {
    threads.emplace_back([&] {
      std::uint64_t own = 0;
      while (!over.load(std::memory_order_relaxed)) {
        for (int n = 0; n < 64; ++n) {
          auto permit = limiter.acquire(ask, {}, clock);
          if (!permit) {
            fmt::print(stderr, "{}\n", to_string(permit.error()));
            std::exit(1);
          }
          permit->settle(outcome);
          ++own;
        }
      }
      acquires += own;
    });
  }
  const auto length = std::chrono::duration<double>(flags.seconds);
  sleep_for(std::chrono::duration_cast<Duration>(length));
  over = true;
  for (auto& thread : threads) thread.join();
  return {.acquires = acquires,
          .wall_s = std::chrono::duration<double>(clock.now() - begin).count(),
          .cpu_s = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC};
}

/// Questions that were sent to Redis.
double calls_of([[maybe_unused]] const LimiterBackend& backend) {
#if MODERATO_WITH_REDIS
  return static_cast<double>(dynamic_cast<const RedisBackend&>(backend).calls());
#else
  return 0;
#endif
}

void run(const std::string& mode, const Flags& flags) {
  const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("limiter_contender.{}", ::getpid()))
          .string();
  Figures figures;
  std::string more;
  if (mode == "in_process") {
    figures = measure(quota(plenty), flags);
  } else if (mode == "shared_host") {
    figures = measure(shared_host(path, plenty), flags);
    std::filesystem::remove(path);
  } else {
    const RedisOptions redis_options{.url = fmt::format("redis://127.0.0.1:{}", flags.redis_port),
                                     .name = fmt::format("limiter_contender.{}", ::getpid())};
    const auto backend = redis_backend(redis_options, plenty);
    figures = measure(limiter_over(backend, {}, "redis"), flags);
    more = fmt::format(R"(,"redis_reads_per_acq":{:.2f})",
                       calls_of(*backend) / static_cast<double>(figures.acquires));
  }
  const auto count = static_cast<double>(figures.acquires);
  fmt::print(
      "{{\"mode\":\"{}\",\"inflight\":{},\"acquires\":{},\"acq_per_s\":{:.0f},"
      "\"cpu_us_per_acq\":{:.3f}{}}}\n",
      mode, flags.inflight, figures.acquires, count / figures.wall_s, figures.cpu_s * 1e6 / count,
      more);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App program("The limiter alone: acquire and settle.", "limiter_contender");
  program.add_option("--seconds", flags.seconds)->capture_default_str();
  program.add_option("--inflight", flags.inflight)->capture_default_str();
  program.add_option("--redis-port", flags.redis_port);
  program.add_option("modes", flags.modes)
      ->check(CLI::IsMember({"in_process", "shared_host", "redis"}));
  CLI11_PARSE(program, argc, argv);
  for (const auto& mode : flags.modes) run(mode, flags);
  return 0;
}
