// Many chats, faults, cancellations and a worker that dies again and again: see tests/soak/run
// --help.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <moderato/moderato.hpp>
#include <numeric>
#include <random>
#include <support/child_program.hpp>
#include <support/sanitizers.hpp>
#include <support/temporary_folder.hpp>
#include <thread>

#include "provider_server.hpp"

using namespace moderato;
using namespace std::chrono_literals;
using test::ChildProgram;

namespace {

struct Options {
  double seconds = 60;
  int chats = 10'000;
  int workers = 2;
  std::uint64_t seed = 1;
};

using WallClock = std::chrono::steady_clock;

class Soak {
 public:
  explicit Soak(const Options& options) : options_(options), random_(options.seed) {}

  /// 0: nothing was wrong.
  int run() {
    provider_ = std::make_unique<ProviderServer>(provider_options());
    end_ = WallClock::now() + std::chrono::duration_cast<WallClock::duration>(
                                  std::chrono::duration<double>(options_.seconds));
    std::vector<std::thread> steady;
    for (std::uint64_t i = 1; i < static_cast<std::uint64_t>(options_.workers); ++i) {
      steady.emplace_back([this, i] { judge(worker(i)->wait(), true); });
    }
    kill_again_and_again();
    for (std::thread& thread : steady) thread.join();
    judge_the_rest();
    for (const std::string& failure : failures_) fmt::print("WRONG: {}\n", failure);
    fmt::print("{} chats, {} calls, {} workers killed, provider: {} answers; {} failures\n", chats_,
               calls_, kills_, provider_->stats().successes, failures_.size());
    return failures_.empty() ? 0 : 1;
  }

 private:
  ProviderServerOptions provider_options() const {
    ProviderServerOptions options;
    options.engine.latency = {.first_token = 100ms, .sigma = 0.5};
    options.engine.seed = options_.seed;
    for (const auto& [kind, probability] : {std::pair{FaultKind::reset, 0.01},
                                            {FaultKind::stall, 0.002},
                                            {FaultKind::truncated, 0.01},
                                            {FaultKind::malformed_stream, 0.01},
                                            {FaultKind::server_error, 0.01},
                                            {FaultKind::refuse_without_hint, 0.0005}}) {
      options.engine.faults.push_back({.kind = kind, .probability = probability});
    }
    return options;
  }
  [[nodiscard]] double left() const {
    return std::chrono::duration<double>(end_ - WallClock::now()).count();
  }
  std::unique_ptr<ChildProgram> worker(std::uint64_t number) {
    return std::make_unique<ChildProgram>(
        SOAK_WORKER,
        std::vector<std::string>{"--base-url", provider_->base_url(), "--quota", quota(),
                                 "--seconds", fmt::format("{:.3f}", std::max(0.1, left())),
                                 "--chats", std::to_string(options_.chats / options_.workers),
                                 "--seed", std::to_string(options_.seed * 1000 + number)});
  }
  [[nodiscard]] std::string quota() const { return folder_ / "quota"; }

  /// The first worker lives for some seconds, dies, and comes again; the last one ends by itself.
  void kill_again_and_again() {
    for (std::uint64_t number = 1000;; ++number) {
      const auto child = worker(number);
      const auto life = std::chrono::milliseconds(500 + random_() % 2500);
      if (WallClock::now() + life + 2s >= end_) {
        judge(child->wait(), false);
        return;
      }
      std::this_thread::sleep_for(life);
      child->signal(SIGKILL);
      if (!child->wait().killed()) wrong("a worker that was killed had ended before");
      ++kills_;
    }
  }

  void judge(const ChildProgram::Ended& ended, bool from_the_start) {
    const std::scoped_lock lock(mutex_);
    if (ended.code() != 0 || ended.lines.empty()) {
      wrong(fmt::format("a worker ended with status {}", ended.status));
      return;
    }
    const Json& report = ended.lines.back();
    chats_ += report.at("chats").get<std::int64_t>();
    calls_ += report.at("calls").get<std::int64_t>();
    for (const char* nothing :
         {"fibers_left", "queued_left", "descriptors_left", "budgets_left_over", "overruns"}) {
      if (report.at(nothing) != 0) wrong(fmt::format("{}: {}", nothing, report.at(nothing).dump()));
    }
    fmt::print("a worker: {} chats, {}\n", report.at("chats").dump(), report.at("stops").dump());
    if (!from_the_start) return;  // it may have had no time for a chat
    if (report.at("chats") == 0) wrong("a worker had no chat");
    judge_memory(report.at("memory").get<std::vector<double>>());
  }
  /// The last quarter beside the second one: by then everything has been used once.
  void judge_memory(const std::vector<double>& memory) {
    const std::size_t quarter = memory.size() / 4;
    // The sanitizer keeps what was freed.
    if (quarter == 0 || test::address_sanitizer) return;
    const auto mean = [&](std::size_t from) {
      const auto begin = memory.begin() + static_cast<std::ptrdiff_t>(from);
      return std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(quarter), 0.0) /
             static_cast<double>(quarter);
    };
    const double early = mean(quarter);
    const double late = mean(memory.size() - quarter);
    fmt::print("memory: {:.1f} MB in the second quarter, {:.1f} MB in the last\n", early, late);
    if (late > early * 1.1 + 4) wrong("the memory grows");
  }
  /// Once nobody is left: no permit is held, nobody waits, the provider has no request.
  void judge_the_rest() {
    const auto nobody_left = [&] {
      const auto snapshot = snapshot_of_shared_host(quota(), SteadyClock().now());
      return snapshot && snapshot->key.in_flight == 0 && snapshot->key.waiting == 0 &&
             provider_->stats().in_flight == 0;
    };
    // What the dead had is given back by the next who looks at the quota.
    Limiter last = shared_host(quota(), {.requests_per_minute = 600'000, .max_in_flight = 1'000});
    Runtime runtime;
    if (!last.acquire({}, {}, runtime.clock())) wrong("the quota cannot be used any more");
    for (int tries = 0; tries < 100 && !nobody_left(); ++tries) std::this_thread::sleep_for(50ms);
    if (!nobody_left()) wrong("permits or requests are left over");
    if (options_.seconds >= 8 && kills_ == 0) wrong("no worker was killed");
  }
  void wrong(std::string what) { failures_.push_back(std::move(what)); }

  const Options options_;
  std::mt19937_64 random_;
  test::TemporaryFolder folder_;
  std::unique_ptr<ProviderServer> provider_;
  WallClock::time_point end_{};
  std::mutex mutex_;
  std::vector<std::string> failures_;
  std::int64_t chats_ = 0;
  std::int64_t calls_ = 0;
  std::int64_t kills_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Thousands of chats at once, faults, cancellations, and workers that die");
  app.add_option("--seconds", options.seconds, "How long")->capture_default_str();
  app.add_option("--chats", options.chats, "Chats at once, of all workers")->capture_default_str();
  app.add_option("--workers", options.workers, "Processes")
      ->capture_default_str()
      ->check(CLI::Range(2, 64));
  app.add_option("--seed", options.seed, "Of everything that is random")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return Soak(options).run();
}
