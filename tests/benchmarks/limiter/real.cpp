// The limiter between real processes and a real server: 8 processes with chats that ask again as
// soon as they have thought, one of them holding half of the chats, five times what the quota
// holds, against `moderato provider` on loopback. One line for each way of limiting and each law of
// the provider, from the provider's own log and from what the processes wrote down.
//
//   bench_limiter_real [--seconds S] [--calls-per-second C] [--busy-machine] [ROW…]
//
// Rows: saturation, peers (the same load limited by what people use otherwise), killed (two workers
// are killed again and again), redis-down (Redis is killed and comes back empty). Ends with 1 where
// a figure misses its aim.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <moderato/llm/limiter/backends/shared_host.hpp>
#include <moderato/moderato.hpp>
#include <numeric>
#include <support/child_program.hpp>
#include <support/redis_server.hpp>
#include <support/temporary_folder.hpp>
#include <thread>

#include "scores.hpp"

namespace {

using namespace moderato;
using namespace moderato::bench;
using test::ChildProgram;

constexpr std::size_t processes = 8;
constexpr std::size_t tenants = 4;
constexpr double mean_tokens = 2000;
constexpr double latency_s = 1;  // mean, log-normal with sigma 0.5
constexpr double think_s = 0.2;  // mean, exponential
constexpr double overload = 5;

struct Options {
  double seconds = 60;  // counted, after a sixth of it that is not
  double calls_per_second = 50;
  /// Judges only what no delay may spoil: nothing refused, failed, overshot, or left over; of the
  /// laws the strictest.
  bool busy_machine = false;
  std::vector<std::string> rows{"saturation", "peers", "killed", "redis-down"};
};

/// How a provider counts, as flags of `moderato provider`.
struct Law {
  const char* name;
  std::vector<std::string> flags;
};
const std::vector<Law> laws{{"minute", {}},
                            {"minute, charged", {"--rejects-charged"}},
                            {"10 s, charged", {"--evaluator", "10s", "--rejects-charged"}}};

struct Setting {
  std::string limit;  // shared_host, redis, split, window, retries
  Law law{};
  bool killed = false;      // two workers are killed again and again
  bool redis_down = false;  // for the middle third
  std::int64_t max_in_flight = 0;
};

double now_s() {
  return seconds_of(SteadyClock().now().time_since_epoch());
}

struct Score {
  double eta = 0;
  double eta_in_outage = 0;  // of the middle third
  std::int64_t calls = 0;    // requests in the counted time
  std::int64_t refused = 0;  // 429s among them
  std::int64_t answered = 0;
  std::int64_t failed = 0;
  std::map<std::string, std::int64_t> failures{};
  double overshoot_s = 0;  // beyond the burst, as time of quota
  double longest_gap_s = 0;
  double jain_tenants = 0;
  double jain_chats = 0;
  double first_process = 0;  // its part of the tokens; it has half of the chats
  double wait_p50 = 0;
  double wait_p99 = 0;
  double floor = 0;
  double store_calls = 0;  // a model call
  std::int64_t left_in_flight = 0;
};

/// One load on one provider.
class Run {
 public:
  Run(const Options& options, Setting setting)
      : options_(options),
        setting_(std::move(setting)),
        tpm_(static_cast<std::int64_t>(options.calls_per_second * mean_tokens * 60)),
        rpm_(static_cast<std::int64_t>(options.calls_per_second * 60 * 5 / 2)),
        chats_(
            static_cast<std::size_t>(overload * options.calls_per_second * (latency_s + think_s))) {
  }

  Score measure() {
    start_provider();
    if (setting_.limit == "redis") redis_ = std::make_unique<test::RedisServer>();
    begin_ = now_s() + options_.seconds / 6;
    end_ = begin_ + options_.seconds;
    std::vector<std::unique_ptr<ChildProgram>> workers;
    for (std::size_t i = 0; i < processes; ++i) workers.push_back(worker(i));
    if (setting_.killed) kill_again_and_again(workers);
    if (setting_.redis_down) take_redis_away();
    for (std::size_t i = 0; i < processes; ++i) {
      const auto ended = workers[i]->wait();
      if (!ended.lines.empty()) store_calls_ += ended.lines.back().value("store_calls", 0.0);
      if (ended.code() != 0) fmt::print(stderr, "a worker ended with status {}\n", ended.status);
    }
    Score score;
    if (setting_.limit == "shared_host") {
      const auto left = snapshot_of_shared_host(store(), SteadyClock().now());
      score.left_in_flight =
          left ? left->key.in_flight + static_cast<std::int64_t>(left->key.waiting) : -1;
    }
    provider_->signal(SIGTERM);
    provider_->wait();
    read_provider_log(score);
    read_workers(score);
    return score;
  }

 private:
  void start_provider() {
    std::ofstream(folder_ / "script.json") << R"({"rules": [{"reply": "Yes."}]})";
    std::vector<std::string> arguments{"provider",
                                       "--port",
                                       "0",
                                       "--rpm",
                                       std::to_string(rpm_),
                                       "--tpm",
                                       std::to_string(tpm_),
                                       "--first-token-ms",
                                       fmt::format("{}", 1000 * latency_s),
                                       "--latency-sigma",
                                       "0.5",
                                       "--script",
                                       folder_ / "script.json",
                                       "--log",
                                       folder_ / "log"};
    arguments.insert(arguments.end(), setting_.law.flags.begin(), setting_.law.flags.end());
    provider_ = std::make_unique<ChildProgram>(MODERATO_PROGRAM, arguments);
    const std::string line = provider_->wait_for_line();
    base_url_ = line.substr(std::string("listening on ").size());
  }

  [[nodiscard]] std::string store() const {
    return redis_ != nullptr ? redis_->url() : folder_ / "quota";
  }

  std::unique_ptr<ChildProgram> worker(std::size_t process) {
    const std::size_t half = chats_ / 2;
    const std::size_t each = (chats_ - half) / (processes - 1);
    const std::size_t first = process == 0 ? 0 : half + (process - 1) * each;
    return std::make_unique<ChildProgram>(
        LIMITER_WORKER,
        std::vector<std::string>{"--base-url",      base_url_,
                                 "--limit",         setting_.limit,
                                 "--store",         store(),
                                 "--out",           folder_ / fmt::format("worker{}", process),
                                 "--rpm",           std::to_string(rpm_),
                                 "--tpm",           std::to_string(tpm_),
                                 "--max-in-flight", std::to_string(setting_.max_in_flight),
                                 "--first-chat",    std::to_string(first),
                                 "--chats",         std::to_string(process == 0 ? half : each),
                                 "--until",         fmt::format("{:.6f}", end_),
                                 "--think",         fmt::format("{}", think_s)});
  }

  static void sleep_until(double at) {
    std::this_thread::sleep_for(std::chrono::duration<double>(at - now_s()));
  }

  void kill_again_and_again(std::vector<std::unique_ptr<ChildProgram>>& workers) {
    for (double at = begin_ + 1; at < end_ - 3; at += std::max(2.0, options_.seconds / 12)) {
      sleep_until(at);
      for (const std::size_t victim : {0UL, 3UL}) {
        workers[victim]->signal(SIGKILL);
        workers[victim]->wait();
        workers[victim] = worker(victim);
      }
    }
  }

  void take_redis_away() {
    sleep_until(begin_ + options_.seconds / 3);
    redis_->kill();
    sleep_until(begin_ + options_.seconds * 2 / 3);
    redis_->start();
  }

  /// What the provider saw. The overshoot is that of a bucket of our burst (3 s of tokens, 1 s of
  /// requests, or one call if that is more) which empties at the provider's rate.
  void read_provider_log(Score& score) {
    std::ifstream log(folder_ / "log");
    double tokens = 0;
    double tokens_in_outage = 0;
    double debts[2] = {0, 0};  // tokens, requests: as seconds of quota
    const double rates[2] = {static_cast<double>(tpm_) / 60, static_cast<double>(rpm_) / 60};
    const double bursts[2] = {3, 1};
    double before = 0;
    for (std::string line; std::getline(log, line);) {
      const auto entry = parse_json(line);
      if (!entry) continue;
      const double at = entry->at("at_us").get<double>() / 1e6;
      const bool admitted = entry->at("status") == 200;
      const double cost = std::max(entry->at("input").get<double>(), 16.0);
      if (admitted) {
        const double costs[2] = {cost, 1};
        for (int i = 0; i < 2; ++i) {
          if (before > 0) debts[i] = std::max(0.0, debts[i] - (at - before));
          debts[i] += costs[i] / rates[i];
          score.overshoot_s =
              std::max(score.overshoot_s, debts[i] - std::max(bursts[i], costs[i] / rates[i]));
        }
      }
      if (admitted && before > begin_) {
        score.longest_gap_s = std::max(score.longest_gap_s, at - before);
      }
      if (admitted) before = at;
      if (at < begin_ || at >= end_) continue;
      ++score.calls;
      if (entry->at("status") == 429) ++score.refused;
      if (!admitted) continue;
      tokens += cost;
      const double part = (at - begin_) / options_.seconds;
      if (part >= 1.0 / 3 && part < 2.0 / 3) tokens_in_outage += cost;
    }
    score.eta = tokens / (rates[0] * options_.seconds);
    score.eta_in_outage = tokens_in_outage / (rates[0] * options_.seconds / 3);
  }

  void read_workers(Score& score) {
    std::vector<double> by_chat(chats_);
    std::vector<double> by_tenant(tenants);
    std::vector<double> waits;
    double busy = 0;
    std::int64_t calls_in_all = 0;
    for (std::size_t i = 0; i < processes; ++i) {
      std::ifstream out(folder_ / fmt::format("worker{}", i));
      for (std::string word; out >> word;) {
        double at = 0;
        double amount = 0;
        std::size_t chat = 0;
        double waited = 0;
        double took = 0;
        out >> at;
        if (word == "ok") out >> amount >> chat >> waited >> took;
        std::string why;
        if (word == "failed") out >> why;
        const bool ok = took > 0;
        ++calls_in_all;
        if (at / 1e6 < begin_ || at / 1e6 >= end_) continue;
        if (!ok) {
          ++score.failed;
          ++score.failures[why];
          continue;
        }
        ++score.answered;
        by_chat.at(chat) += amount;
        by_tenant[chat % tenants] += amount;
        waits.push_back(waited / 1e6);
        busy += took / 1e6;
      }
    }
    const auto answered = static_cast<double>(std::max<std::int64_t>(score.answered, 1));
    by_chat.resize(chats_ / 2 + (chats_ - chats_ / 2) / (processes - 1) * (processes - 1));
    score.jain_chats = jain(by_chat);
    score.jain_tenants = jain(by_tenant);
    const auto half = by_chat.begin() + static_cast<std::ptrdiff_t>(chats_ / 2);
    const double all = std::accumulate(by_chat.begin(), by_chat.end(), 0.0);
    score.first_process = std::accumulate(by_chat.begin(), half, 0.0) / std::max(all, 1.0);
    score.wait_p50 = percentile(waits, 0.5);
    score.wait_p99 = percentile(waits, 0.99);
    score.floor = std::max(
        0.0, static_cast<double>(by_chat.size()) * options_.seconds / answered - busy / answered);
    score.store_calls = store_calls_ / static_cast<double>(std::max<std::int64_t>(calls_in_all, 1));
  }

  const Options& options_;
  Setting setting_;
  std::int64_t tpm_;
  std::int64_t rpm_;
  std::size_t chats_;
  test::TemporaryFolder folder_;
  std::unique_ptr<test::RedisServer> redis_;
  std::unique_ptr<ChildProgram> provider_;
  std::string base_url_;
  double begin_ = 0;
  double end_ = 0;
  double store_calls_ = 0;
};

void print_head() {
  fmt::print(
      "{:<16} {:<21} {:>6} {:>6} {:>6} {:>7} {:>6} {:>5} {:>6} {:>5} {:>6} {:>6} {:>5} {:>6} "
      "{:>5}\n",
      "provider", "limited by", "eta", "calls", "429/1k", "failed", "att/ok", "J ten", "J chat",
      "half", "p50 s", "p99 s", "floor", "over s", "store");
}

void print_line(const Setting& setting, const char* more, const Score& score) {
  const auto answered = static_cast<double>(std::max<std::int64_t>(score.answered, 1));
  fmt::print("{:<16} {:<21} {:>6.3f} {:>6} ", setting.law.name, setting.limit + more, score.eta,
             score.calls);
  fmt::print("{:>6.1f} {:>6.1f}% {:>6.3f} {:>5.3f} {:>6.3f} {:>5.2f} ",
             1000 * static_cast<double>(score.refused) / answered,
             100 * static_cast<double>(score.failed) /
                 std::max(1.0, static_cast<double>(score.failed + score.answered)),
             static_cast<double>(score.calls) / answered, score.jain_tenants, score.jain_chats,
             score.first_process);
  fmt::print("{:>6.1f} {:>6.1f} {:>5.1f} {:>6.3f} {:>5.2f}\n", score.wait_p50, score.wait_p99,
             score.floor, score.overshoot_s, score.store_calls);
  for (const auto& [why, count] : score.failures) {
    fmt::print("    {} calls failed: {}\n", count, why);
  }
  std::fflush(stdout);
}

/// True: the aim was reached.
bool aim(const char* name, double value, double wanted, bool at_least) {
  const bool good = at_least ? value >= wanted : value <= wanted;
  if (!good) {
    fmt::print("    MISSED: {} is {:.3f}, wanted {} {:g}\n", name, value,
               at_least ? ">=" : "<=", wanted);
  }
  return good;
}

/// The same for what a busy machine may spoil.
bool speed(const Options& options, const char* name, double value, double wanted, bool at_least) {
  return options.busy_machine || aim(name, value, wanted, at_least);
}

bool run_row(const Options& options, const std::string& row) {
  bool reached = true;
  const bool with_redis = test::RedisServer::available();
  if (!with_redis) fmt::print("redis-server is not installed: without Redis\n");
  if (row == "saturation") {
    for (const char* limit : {"shared_host", "redis"}) {
      if (limit == std::string("redis") && !with_redis) continue;
      for (const Law& law : laws) {
        if (options.busy_machine && &law != &laws.back()) continue;
        const Setting setting{.limit = limit, .law = law};
        const Score score = Run(options, setting).measure();
        print_line(setting, "", score);
        reached = speed(options, "eta", score.eta, 0.985, true) && reached;
        reached = aim("429s", static_cast<double>(score.refused), 0, false) && reached;
        reached = aim("failed calls", static_cast<double>(score.failed), 0, false) && reached;
        reached = speed(options, "Jain of tenants", score.jain_tenants, 0.99, true) && reached;
      }
    }
  } else if (row == "peers") {
    for (const char* limit : {"split", "window", "retries"}) {
      for (const Law& law : laws) {
        const Setting setting{.limit = limit, .law = law};
        print_line(setting, "", Run(options, setting).measure());
      }
    }
  } else if (row == "killed") {
    const auto slots = static_cast<std::int64_t>(3 * options.calls_per_second);
    const Setting setting{
        .limit = "shared_host", .law = laws[2], .killed = true, .max_in_flight = slots};
    const Score score = Run(options, setting).measure();
    print_line(setting, ", killed", score);
    reached = aim("overshoot, s of quota", score.overshoot_s, 0.05, false) && reached;
    reached = aim("429s", static_cast<double>(score.refused), 0, false) && reached;
    reached =
        speed(options, "longest time without a call, s", score.longest_gap_s, 1, false) && reached;
    reached =
        aim("slots and places left over", static_cast<double>(score.left_in_flight), 0, false) &&
        reached;
  } else if (row == "redis-down" && with_redis) {
    const Setting setting{.limit = "redis", .law = laws[0], .redis_down = true};
    const Score score = Run(options, setting).measure();
    print_line(setting, ", away", score);
    fmt::print("    eta while Redis was away: {:.3f}; longest time without a call: {:.2f} s\n",
               score.eta_in_outage, score.longest_gap_s);
    reached =
        speed(options, "eta while Redis was away", score.eta_in_outage, 0.85, true) && reached;
    reached = aim("overshoot, s of quota", score.overshoot_s, 3, false) && reached;
    reached = aim("failed calls", static_cast<double>(score.failed), 0, false) && reached;
  }
  return reached;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("The limiter between real processes and `moderato provider`");
  app.add_option("--seconds", options.seconds, "Counted time of each line")->capture_default_str();
  app.add_option("--calls-per-second", options.calls_per_second, "What the quota holds")
      ->capture_default_str();
  app.add_flag("--busy-machine", options.busy_machine,
               "Judge only what no delay may spoil, on the strictest law");
  app.add_option("row", options.rows, "Which rows")
      ->check(CLI::IsMember({"saturation", "peers", "killed", "redis-down"}));
  CLI11_PARSE(app, argc, argv);
  print_head();
  bool reached = true;
  for (const std::string& row : options.rows) reached = run_row(options, row) && reached;
  return reached ? 0 : 1;
}
