// What the limiter makes of Redis: acquire and settle as fast as some threads can, beside a bare
// loop that sends the same two script calls, word for word, over one connection with as many
// commands under way. By turns on the same server; prints the medians and their ratio.
//
//   bench_redis_rate [--threads N] [--seconds S] [--rounds R]      (needs redis-server)

#include <fmt/format.h>
#include <hiredis/hiredis.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <moderato/moderato.hpp>
#include <stdexcept>
#include <support/redis_server.hpp>
#include <thread>

#include "limiter/scores.hpp"

namespace {

using namespace moderato;
using namespace moderato::bench;

struct Options {
  int threads = 16;
  double seconds = 1;
  int rounds = 5;
};

using Command = std::vector<std::string>;
using Reply = std::unique_ptr<redisReply, void (*)(void*)>;

class Connection {
 public:
  explicit Connection(int port) : context_(::redisConnect("127.0.0.1", port)) {
    if (context_ == nullptr || context_->err != 0) throw std::runtime_error("no connection");
  }
  ~Connection() { ::redisFree(context_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void send(const Command& command) {
    std::vector<const char*> words;
    std::vector<std::size_t> lengths;
    for (const std::string& word : command) {
      words.push_back(word.data());
      lengths.push_back(word.size());
    }
    ::redisAppendCommandArgv(context_, static_cast<int>(words.size()), words.data(),
                             lengths.data());
  }
  Reply receive() {
    void* reply = nullptr;
    if (::redisGetReply(context_, &reply) != REDIS_OK) throw std::runtime_error(context_->errstr);
    return {static_cast<redisReply*>(reply), ::freeReplyObject};
  }

 private:
  redisContext* context_;
};

/// The words of a line of MONITOR: quoted, with \" \\ \n \r \t \a \b and \xNN.
Command words_of(const std::string& line) {
  Command words;
  for (std::size_t i = line.find('"'); i < line.size(); i = line.find('"', i)) {
    std::string word;
    for (++i; i < line.size() && line[i] != '"'; ++i) {
      if (line[i] != '\\') {
        word += line[i];
        continue;
      }
      const std::string_view names = "nrtab";
      const std::string_view meant = "\n\r\t\a\b";
      const char escaped = line.at(++i);
      if (escaped == 'x') {
        word += static_cast<char>(std::stoi(line.substr(i + 1, 2), nullptr, 16));
        i += 2;
      } else {
        const std::size_t found = names.find(escaped);
        word += found == std::string_view::npos ? escaped : meant[found];
      }
    }
    words.push_back(word);
    ++i;
  }
  return words;
}

const QuotaOptions plenty{.requests_per_minute = 2'000'000'000'000,
                          .tokens_per_minute = 2'000'000'000'000'000,
                          .max_in_flight = 100'000};
const Ask ask{.input_tokens = 900, .output_tokens = 100};
const Outcome outcome{.kind = Outcome::Kind::succeeded, .input_tokens = 900, .output_tokens = 60};

void take_and_settle(Limiter& limiter, const Clock& clock) {
  auto permit = limiter.acquire(ask, {}, clock);
  if (!permit) throw std::runtime_error(to_string(permit.error()));
  permit->settle(outcome);
}

/// The script calls that an acquire and its settle are.
std::vector<Command> overheard(int port, Limiter limiter) {
  const SteadyClock clock;
  take_and_settle(limiter, clock);  // by now everybody knows the scripts
  Connection monitor(port);
  monitor.send({"MONITOR"});
  (void)monitor.receive();
  take_and_settle(limiter, clock);
  std::vector<Command> commands;
  while (commands.size() < 2) {
    const Reply line = monitor.receive();
    Command words = words_of({line->str, line->len});
    if (!words.empty() && (words[0] == "EVALSHA" || words[0] == "evalsha")) {
      commands.push_back(std::move(words));
    }
  }
  return commands;
}

/// Pairs of calls in a second.
double bare_rate(int port, const std::vector<Command>& commands, const Options& options) {
  Connection connection(port);
  const SteadyClock clock;
  const Instant begin = clock.now();
  const Instant end = begin + from_seconds(options.seconds);
  std::int64_t pairs = 0;
  // As many commands under way as our threads have: each has one, an acquire or a settle.
  const int depth = std::max(options.threads, 2);
  for (int i = 0; i < depth; ++i) connection.send(commands[static_cast<std::size_t>(i % 2)]);
  for (; clock.now() < end; ++pairs) {
    for (const Command& command : commands) {
      (void)connection.receive();
      connection.send(command);
    }
  }
  return static_cast<double>(pairs) / seconds_of(clock.now() - begin);
}

double our_rate(Limiter limiter, const Options& options) {
  const SteadyClock clock;
  const Instant begin = clock.now();
  const Instant end = begin + from_seconds(options.seconds);
  std::atomic<std::int64_t> pairs{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < options.threads; ++i) {
    threads.emplace_back([&, limiter]() mutable {
      for (; clock.now() < end; ++pairs) take_and_settle(limiter, clock);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return static_cast<double>(pairs) / seconds_of(clock.now() - begin);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("The limiter over Redis beside its bare scripts");
  app.add_option("--threads", options.threads)->capture_default_str();
  app.add_option("--seconds", options.seconds)->capture_default_str();
  app.add_option("--rounds", options.rounds)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (!test::RedisServer::available()) {
    fmt::print("skipped: redis-server is not installed\n");
    return 0;
  }
  const test::RedisServer server;
  const Limiter limiter = redis({.url = server.url(), .name = "rate"}, plenty);
  const std::vector<Command> commands = overheard(server.port(), limiter);
  std::vector<double> bare;
  std::vector<double> ours;
  std::vector<double> ratios;
  for (int round = 0; round < options.rounds; ++round) {
    bare.push_back(bare_rate(server.port(), commands, options));
    ours.push_back(our_rate(limiter, options));
    ratios.push_back(ours.back() / bare.back());
  }
  fmt::print("bare scripts {:.0f} pairs/s, limiter {:.0f} pairs/s, ratio {:.2f} ({:.2f}-{:.2f})\n",
             percentile(bare, 0.5), percentile(ours, 0.5), percentile(ratios, 0.5),
             percentile(ratios, 0), percentile(ratios, 1));
}
