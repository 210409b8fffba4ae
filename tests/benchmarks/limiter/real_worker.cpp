// One process of `bench_limiter_real`: holds chats that ask again as soon as they have thought, one
// way of limiting between them and a provider, and writes a line for each call that ended:
//
//   ok END_US TOKENS CHAT WAITED_US BUSY_US       (END_US: monotonic clock)
//   failed END_US WHY

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <benchmarks/process_figures.hpp>
#include <cmath>
#include <cstdio>
#include <map>
#include <moderato/llm/limiter/backends/redis_backend.hpp>
#include <moderato/moderato.hpp>
#include <random>

#include "scores.hpp"

using namespace moderato;
using namespace moderato::bench;
using namespace std::chrono_literals;

namespace {

struct Options {
  std::string base_url;
  std::string limit = "shared_host";
  std::string store;  // a path or a URL
  std::string out;
  std::int64_t rpm = 0;
  std::int64_t tpm = 0;
  std::int64_t max_in_flight = 0;
  std::size_t first_chat = 0;
  std::size_t chats = 1;
  std::size_t tenants = 4;
  double until_s = 0;  // monotonic clock
  double think_s = 1;
  std::uint64_t seed = 1;
};

/// What many gateways do: counters of the current minute that all processes share; a call that does
/// not fit is refused, and its caller tries again.
class SharedWindow {
 public:
  SharedWindow(const Options& options) : options_(options) {
    const int file = ::open(options.store.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ::ftruncate(file, sizeof(Counters)) != 0) std::abort();
    counters_ = static_cast<Counters*>(
        ::mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    ::close(file);
  }

  /// How long until the next window, if the call does not fit into this one.
  std::optional<Duration> admit(Instant now, std::int64_t tokens) {
    constexpr Duration length = 60s;
    const std::int64_t window = now.time_since_epoch() / length;
    std::int64_t was = counters_->window.load();
    if (was < window && counters_->window.compare_exchange_strong(was, window)) {
      counters_->requests = 0;
      counters_->tokens = 0;
    }
    if (counters_->requests.fetch_add(1) < options_.rpm &&
        counters_->tokens.fetch_add(tokens) + tokens <= options_.tpm) {
      return std::nullopt;
    }
    return length - now.time_since_epoch() % length;
  }

 private:
  struct Counters {
    std::atomic<std::int64_t> window;
    std::atomic<std::int64_t> requests;
    std::atomic<std::int64_t> tokens;
  };
  const Options& options_;
  Counters* counters_ = nullptr;
};

class Worker {
 public:
  explicit Worker(const Options& options)
      : options_(options), out_(std::fopen(options.out.c_str(), "a")) {
    if (out_ == nullptr) throw std::runtime_error("cannot write to " + options.out);
    if (options.limit == "window") window_ = std::make_unique<SharedWindow>(options);
  }
  ~Worker() { std::fclose(out_); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void run() {
    Runtime runtime;
    clock_ = &runtime.clock();
    const bool ours = options_.limit == "shared_host" || options_.limit == "redis";
    RetryOptions retry;
    if (!ours) retry.max_attempts = 3;  // as the SDKs have it
    const Model model = runtime.model(openai({.model = "bench", .base_url = options_.base_url}),
                                      {.limiter = limiter(), .retry = retry});
    runtime.block_on([&] {
      std::vector<Task<void>> chats;
      for (std::size_t i = 0; i < options_.chats; ++i) {
        chats.push_back(runtime.spawn([&, i] { hold(model, options_.first_chat + i); }));
      }
      for (Task<void>& chat : chats) chat.join();
    });
  }

  /// Questions to the shared store so far; 0 where they are not counted.
  [[nodiscard]] std::uint64_t store_calls() const {
#if MODERATO_WITH_REDIS
    if (const auto* redis = dynamic_cast<const RedisBackend*>(backend_.get())) {
      return redis->calls();
    }
#endif
    return 0;
  }

 private:
  Limiter limiter() {
    QuotaOptions quota_options{.requests_per_minute = options_.rpm,
                               .tokens_per_minute = options_.tpm,
                               .max_in_flight = options_.max_in_flight,
                               .profile = profiles::openai};
    if (options_.limit == "shared_host") return shared_host(options_.store, quota_options);
    if (options_.limit == "redis") {
      backend_ = redis_backend({.url = options_.store, .name = "bench"}, quota_options);
      return limiter_over(backend_, {}, "redis");
    }
    if (options_.limit == "split") {  // eight processes
      quota_options.requests_per_minute /= 8;
      quota_options.tokens_per_minute /= 8;
      return quota(quota_options);
    }
    return unlimited();
  }

  [[nodiscard]] bool over() const {
    return seconds_of(clock_->now().time_since_epoch()) >= options_.until_s;
  }

  void hold(const Model& model, std::size_t chat) {
    std::mt19937_64 random(options_.seed * 100'000 + chat);
    std::lognormal_distribution<double> cost(std::log(2000.0) - 0.32, 0.8);
    std::exponential_distribution<double> think(1.0 / options_.think_s);
    sleep_for(from_seconds(think(random)));
    while (!over()) {
      const auto tokens = static_cast<std::size_t>(std::clamp(cost(random), 200.0, 20'000.0));
      ModelRequest request{.messages = {store(Message::user(std::string(4 * (tokens - 4), 'x')))}};
      request.sampling.max_output_tokens = 16;
      const Duration pause = from_seconds(think(random));
      ask(model, request, static_cast<std::int64_t>(tokens), chat, pause, random);
      sleep_for(pause);
    }
  }

  void ask(const Model& model, const ModelRequest& request, std::int64_t tokens, std::size_t chat,
           Duration pause, std::mt19937_64& random) {
    const Instant asked = clock_->now();
    std::uniform_real_distribution<double> part(0.0, 1.0);
    while (window_ != nullptr && !over()) {
      const auto wait = window_->admit(clock_->now(), tokens);
      if (!wait) break;
      sleep_for(*wait + from_seconds(part(random)));
    }
    Duration answered{};  // how long the answer itself took
    const CallContext context{.session = fmt::format("chat {}", chat),
                              .tenant = fmt::format("t{}", chat % options_.tenants),
                              .observer = Observer([&answered](const Event& event) {
                                if (const auto* done = std::get_if<CallFinished>(&event.data)) {
                                  answered = done->record.latency;
                                }
                              })};
    const auto reply = model.complete(request, context);
    const Instant ended = clock_->now();
    const auto us = [](Duration time) { return time / 1us; };
    if (reply) {
      fmt::print(out_, "ok {} {} {} {} {}\n", us(ended.time_since_epoch()), reply->usage.input,
                 chat, us(ended - asked - answered), us(answered + pause));
    } else {
      fmt::print(out_, "failed {} {}\n", us(ended.time_since_epoch()),
                 to_string(reply.error().code));
    }
    std::fflush(out_);  // a worker that is killed has told what it saw
  }

  const Options& options_;
  std::FILE* out_;
  const Clock* clock_ = nullptr;
  std::shared_ptr<LimiterBackend> backend_;
  std::unique_ptr<SharedWindow> window_;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("A worker of bench_limiter_real");
  app.add_option("--base-url", options.base_url)->required();
  app.add_option("--limit", options.limit);
  app.add_option("--store", options.store);
  app.add_option("--out", options.out)->required();
  app.add_option("--rpm", options.rpm);
  app.add_option("--tpm", options.tpm);
  app.add_option("--max-in-flight", options.max_in_flight);
  app.add_option("--first-chat", options.first_chat);
  app.add_option("--chats", options.chats);
  app.add_option("--until", options.until_s);
  app.add_option("--think", options.think_s);
  app.add_option("--seed", options.seed);
  CLI11_PARSE(app, argc, argv);
  raise_descriptor_limit();
  Worker worker(options);
  worker.run();
  fmt::print("{{\"store_calls\": {}}}\n", worker.store_calls());
}
