// moderato in the common benchmark of agent runtimes: holds the chats of one workload against a
// provider and prints one JSON line. Everything is done through the public API, as a user would.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <benchmarks/process_figures.hpp>
#include <filesystem>
#include <map>
#include <moderato/moderato.hpp>
#include <mutex>
#include <numeric>
#include <vector>

namespace {

using namespace moderato;

struct Options {
  std::string workload = "w1";
  std::string base_url = "http://127.0.0.1:8080/v1";
  std::string api_key = "none";
  std::string model = "pingpong-10";
  std::size_t chats = 10;
  int turns = 10;
  std::string limiter = "none";
  std::int64_t rpm = 0;
  std::int64_t tpm = 0;
  int max_retries = -1;
  int redis_port = 6379;
  std::string run_id = "contender";
};

Options read_options(int argc, char** argv) {
  Options options;
  CLI::App app("moderato as a contender: one workload, one JSON line");
  app.add_option("--workload", options.workload)
      ->check(CLI::IsMember({"w1", "w2", "w3", "w4", "w6", "w7"}));
  app.add_option("--base-url", options.base_url);
  app.add_option("--api-key", options.api_key);
  app.add_option("--model", options.model, "The provider's script, e.g. pingpong-10");
  app.add_option("--chats", options.chats)->check(CLI::PositiveNumber);
  app.add_option("--turns", options.turns)->check(CLI::PositiveNumber);
  app.add_option("--limiter", options.limiter)
      ->check(CLI::IsMember({"default", "none", "shared_host", "redis"}));
  app.add_option("--rpm", options.rpm);
  app.add_option("--tpm", options.tpm);
  app.add_option("--max-retries", options.max_retries);
  app.add_option("--redis-port", options.redis_port, "A Redis on 127.0.0.1");
  app.add_option("--run-id", options.run_id, "Names the quota that several contenders share");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return options;
}

Limiter limiter_of(const Options& options) {
  if (options.limiter == "none") return unlimited();
  const QuotaOptions told{.requests_per_minute = options.rpm, .tokens_per_minute = options.tpm};
  if (options.limiter == "shared_host") {
    const auto folder = std::filesystem::temp_directory_path();
    return shared_host(folder / fmt::format("moderato_{}.quota", options.run_id), told);
  }
  if (options.limiter == "redis") {
    return redis(
        {.url = fmt::format("redis://127.0.0.1:{}", options.redis_port), .name = options.run_id},
        told);
  }
  if (options.rpm == 0 && options.tpm == 0) return adaptive();
  return quota(told);
}

/// What came of all chats.
struct Tally {
  std::mutex mutex;
  std::int64_t ok = 0;
  std::int64_t failed = 0;
  std::vector<double> chat_cpu;
  std::vector<double> chat_wall;
  std::map<std::string, int> errors;

  void add(const ChatResult& chat) {
    const bool finished = chat.stop.reason == StopReason::termination_message ||
                          chat.stop.reason == StopReason::max_turns;
    const std::scoped_lock lock(mutex);
    ++(finished ? ok : failed);
    if (!finished) ++errors[fmt::format("{}", chat.stop)];
  }
};

/// Counts what the runtime tells about calls.
struct Counts {
  std::atomic<std::int64_t> calls{0};
  std::atomic<std::int64_t> too_many{0};
  std::atomic<std::int64_t> chunks{0};
};

class CountingLedger final : public Ledger {
 public:
  explicit CountingLedger(Counts& counts) : counts_(counts) {}
  void append(const CallRecord& record) override {
    if (record.ok()) ++counts_.calls;
    if (record.http_status == 429) ++counts_.too_many;
  }

 private:
  Counts& counts_;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  bench::raise_descriptor_limit();

  Counts counts;
  Runtime runtime({.ledger = std::make_shared<CountingLedger>(counts)});
  ModelOptions how{.limiter = limiter_of(options)};
  if (options.max_retries >= 0) how.retry.max_attempts = 1 + options.max_retries;
  const Model model = runtime.model(
      openai({.model = options.model, .base_url = options.base_url, .api_key = options.api_key}),
      how);
  const AssistantAgent assistant({.name = "assistant",
                                  .system_message = "You are a helpful assistant.",
                                  .model = model,
                                  .max_consecutive_auto_reply = 1'000'000});
  const UserProxyAgent user({.name = "user_proxy",
                             .human_input_mode = HumanInputMode::never,
                             .max_consecutive_auto_reply = 1'000'000,
                             .is_termination_msg = ends_with("TERMINATE"),
                             .default_auto_reply = "Go on."});

  const bool streamed = options.workload == "w6";
  Tally tally;
  const auto hold = [&](std::size_t index) {
    ChatOptions chat{.stream = streamed, .repetition = {.report_after = 0, .stop_after = 0}};
    if (streamed) {
      chat.max_turns = options.turns;
      chat.observer = Observer([&counts](const Event& event) {
        if (std::holds_alternative<TokenDelta>(event.data)) ++counts.chunks;
      });
    }
    tally.add(
        user.initiate_chat(assistant, fmt::format("Task {}: begin.", index), std::move(chat)));
  };

  const double startup_cpu = bench::cpu_seconds();
  const double rss_start = bench::status_mb("VmRSS");
  const double wall = bench::wall_seconds();
  std::vector<std::size_t> chats(options.chats);
  std::iota(chats.begin(), chats.end(), std::size_t{0});
  if (options.workload == "w2" || options.workload == "w3" || options.workload == "w4") {
    runtime.parallel(chats, {.max_in_flight = chats.size()}, hold);
  } else {
    for (const std::size_t index : chats) {
      const double cpu_before = bench::cpu_seconds();
      const double wall_before = bench::wall_seconds();
      hold(index);
      tally.chat_cpu.push_back(bench::cpu_seconds() - cpu_before);
      tally.chat_wall.push_back(bench::wall_seconds() - wall_before);
    }
  }

  const Json line{{"contender", "moderato"},
                  {"workload", options.workload},
                  {"wall_s", bench::wall_seconds() - wall},
                  {"cpu_s", bench::cpu_seconds() - startup_cpu},
                  {"startup_cpu_s", startup_cpu},
                  {"rss_mb", bench::status_mb("VmHWM")},
                  {"rss_start_mb", rss_start},
                  {"calls", counts.calls.load()},
                  {"r429", counts.too_many.load()},
                  {"chats_ok", tally.ok},
                  {"chats_failed", tally.failed},
                  {"chat_cpu_s", tally.chat_cpu},
                  {"chat_wall_s", tally.chat_wall},
                  {"chunks", counts.chunks.load()},
                  {"errors", tally.errors}};
  fmt::print("{}\n", dump_json(line));
}
