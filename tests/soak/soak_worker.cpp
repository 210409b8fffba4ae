// One process of the soak: holds so many chats at once until the time is over, then says what it
// saw and what is left over. See tests/soak/run --help.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <benchmarks/process_figures.hpp>
#include <filesystem>
#include <moderato/moderato.hpp>
#include <random>

using namespace moderato;
using namespace std::chrono_literals;

namespace {

struct Options {
  std::string base_url;
  std::string quota;
  double seconds = 10;
  int chats = 100;
  std::uint64_t seed = 1;
};

std::int64_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

/// What was seen; written by one loop's fibers only.
struct Seen {
  std::int64_t chats = 0;
  std::map<std::string, std::int64_t> stops{};
  std::int64_t calls = 0;
  std::int64_t budgets_left_over = 0;  ///< Chats whose budget still had a reservation at the end.
  std::int64_t overruns = 0;           ///< Chats that used more than their budget.
  std::vector<double> memory{};        ///< MB, once a second.
};

struct Crew {
  AssistantAgent writer;
  AssistantAgent forecaster;
  UserProxyAgent user;
};

Crew crew_of(Runtime& runtime, const Options& options, const Limiter& limiter) {
  const auto model = [&](const std::string& script) {
    return runtime.model(openai({.model = script,
                                 .base_url = options.base_url,
                                 .first_byte_timeout = 3s,
                                 .silence_timeout = 1s,
                                 .total_timeout = 5s}),
                         {.limiter = limiter, .retry = {.base_delay = 50ms, .max_delay = 500ms}});
  };
  const Tool weather = tool(
      "get_weather", "Weather in a city", [](const std::string& city) { return city + ": rain"; },
      arg("city", "City"));
  return {.writer = AssistantAgent({.name = "writer", .model = model("tokens-20")}),
          .forecaster =
              AssistantAgent({.name = "forecaster", .model = model("weather"), .tools = {weather}}),
          .user = UserProxyAgent({.name = "user",
                                  .human_input_mode = HumanInputMode::never,
                                  .default_auto_reply = "Go on."})};
}

/// One chat of a random kind; `random` decides.
void talk(Runtime& runtime, const Crew& crew, std::mt19937_64& random, Seen& seen) {
  const auto draw = [&](int below) {
    return static_cast<int>(random() % static_cast<unsigned>(below));
  };
  std::stop_source stop;
  Task<void> canceller;
  const auto budget = TokenBudget::make(draw(4) == 0 ? 300 : 100'000);
  ChatOptions options{.max_turns = 3, .shared_budget = budget};
  options.stream = draw(2) == 0;
  const int kind = draw(10);
  if (kind < 2) {  // stopped in its middle
    options.stop = stop.get_token();
    canceller = runtime.spawn([&stop, wait = draw(800)] {
      sleep_for(std::chrono::milliseconds(wait));
      stop.request_stop();
    });
  } else if (kind < 4) {  // out of time
    options.deadline = runtime.clock().now() + std::chrono::milliseconds(50 + draw(800));
  }
  const AssistantAgent& partner = draw(3) == 0 ? crew.forecaster : crew.writer;
  const ChatResult chat = crew.user.initiate_chat(partner, "How is it in Oslo?", options);
  if (canceller.valid()) canceller.join();
  ++seen.chats;
  ++seen.stops[std::string(to_string(chat.stop.reason))];
  seen.calls += chat.calls;
  seen.budgets_left_over += budget->reserved() != 0 ? 1 : 0;
  seen.overruns += budget->overrun() > 0 ? 1 : 0;
}

/// Holds `options.chats` chats until the time is over. Gives the descriptors that were open then.
void hold(Runtime& runtime, const Options& options, const Limiter& limiter, Seen& seen) {
  const Crew crew = crew_of(runtime, options, limiter);
  const Clock& clock = runtime.clock();
  const Instant end = clock.now() + std::chrono::duration_cast<Duration>(
                                        std::chrono::duration<double>(options.seconds));
  runtime.block_on([&] {
    std::vector<Task<void>> tasks;
    tasks.push_back(runtime.spawn([&] {
      while (clock.now() < end) {
        sleep_for(1s);
        seen.memory.push_back(bench::status_mb("VmRSS"));
      }
    }));
    for (int i = 0; i < options.chats; ++i) {
      tasks.push_back(runtime.spawn([&, i] {
        std::mt19937_64 random(options.seed * 1'000'003 + static_cast<std::uint64_t>(i));
        while (clock.now() < end) talk(runtime, crew, random, seen);
      }));
    }
    for (Task<void>& task : tasks) task.join();
  });
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("A worker of the soak");
  app.add_option("--base-url", options.base_url)->required();
  app.add_option("--quota", options.quota)->required();
  app.add_option("--seconds", options.seconds);
  app.add_option("--chats", options.chats);
  app.add_option("--seed", options.seed);
  CLI11_PARSE(app, argc, argv);
  bench::raise_descriptor_limit();

  Seen seen;
  const std::int64_t before = open_descriptors();
  std::size_t fibers = 0;
  std::size_t queued = 0;
  {
    Runtime runtime;
    const Limiter limiter =
        shared_host(options.quota, {.requests_per_minute = 600'000, .max_in_flight = 1'000});
    hold(runtime, options, limiter, seen);
    fibers = runtime.stats().fibers;
    queued = limiter.snapshot(runtime.clock().now()).queued;
  }
  const Json report{{"chats", seen.chats},
                    {"calls", seen.calls},
                    {"stops", seen.stops},
                    {"memory", seen.memory},
                    {"fibers_left", fibers},
                    {"queued_left", queued},
                    {"descriptors_left", open_descriptors() - before},
                    {"budgets_left_over", seen.budgets_left_over},
                    {"overruns", seen.overruns}};
  fmt::print("{}\n", dump_json(report));
}
