// The five causes of "429 rate limit exceeded", before and after the one change that cures each:
// the programs behind docs/limits.md. In virtual time, against the simulated provider, which
// counts for itself. Deterministic: same lines every time.

#include <fmt/format.h>

#include <moderato/moderato.hpp>

namespace {

using namespace moderato;
using namespace std::chrono_literals;

constexpr const char* script = R"({"rules": [
  {"when": {"model": "writer", "turn": 3}, "reply": "That is the text as we wanted it. DONE"},
  {"when": {"model": "writer"}, "reply": "Here is another draft of the text that you asked me for."},
  {"when": {"model": "critic"}, "reply": "Good. Could you look at the second sentence once more?"}
]})";

/// A provider with 500 requests and 100,000 tokens a minute, and a world in which it stands.
struct World {
  explicit World(bool headers = true) : provider(options(headers)) {}

  static SimulatedOptions options(bool headers) {
    return {.script = SimulatedScript::from_json(script).value(),
            .quota = {.requests_per_minute = 500, .tokens_per_minute = 100'000},
            .latency = {.first_token = 500ms, .per_token = 10ms},
            .rate_limit_headers = headers};
  }

  Simulation runtime{{.keep_event_log = false}};
  SimulatedProvider provider;

  Model model(ModelOptions options, const std::string& name = "writer") {
    return runtime.model(provider.provider(name), std::move(options));
  }
};

struct Seen {
  std::int64_t chats = 0;
  std::int64_t failed = 0;
};

void print(const char* what, World& world, const Seen& seen) {
  const SimulatedStats stats = world.provider.stats();
  std::int64_t refused = 0;
  for (const auto& [dimension, count] : stats.refused) refused += count;
  fmt::print("{:<58} {:>5} {:>6} {:>9} {:>6} {:>8.1f}\n", what, seen.chats, seen.failed,
             stats.requests, refused,
             std::chrono::duration<double>(world.runtime.clock().now().time_since_epoch()).count());
}

UserProxyAgent user() {
  return UserProxyAgent({.name = "user", .human_input_mode = HumanInputMode::never});
}

/// `chats` at once, each a question and an answer; the i-th uses the i-th model, round and round.
void ask_at_once(const char* what, World& world, const std::vector<Model>& models,
                 std::size_t chats, std::size_t tries = 1) {
  Seen seen;
  std::vector<std::size_t> numbers(chats);
  for (std::size_t i = 0; i < chats; ++i) numbers[i] = i;
  world.runtime.block_on([&] {
    world.runtime.parallel(numbers, {.max_in_flight = chats}, [&](std::size_t i) {
      const AssistantAgent writer({.name = "writer", .model = models[i % models.size()]});
      const std::string question = fmt::format("Write a text about the number {}.", i);
      ChatResult chat;
      for (std::size_t number = 0; number < tries; ++number) {
        chat = user().initiate_chat(writer, question, {.max_turns = 1});
        if (!chat.stop.error) break;
      }
      ++seen.chats;
      if (chat.stop.error) ++seen.failed;
      return 0;
    });
  });
  print(what, world, seen);
}

// --- 1. Chatter

void chatter(const char* what, const ChatOptions& options, std::int64_t cap) {
  World world;
  const Limiter limits = quota({.requests_per_minute = 500, .tokens_per_minute = 100'000});
  const Model writes = world.model({.limiter = limits});
  const Model judges = world.model({.limiter = limits}, "critic");
  Seen seen;
  world.runtime.block_on([&] {
    const AssistantAgent writer(
        {.name = "writer", .model = writes, .max_consecutive_auto_reply = cap});
    const AssistantAgent critic(
        {.name = "critic", .model = judges, .max_consecutive_auto_reply = cap});
    world.runtime.parallel(std::vector<int>(20), {.max_in_flight = 20}, [&](int) {
      const ChatResult chat = critic.initiate_chat(writer, "Write a text.", options);
      ++seen.chats;
      if (chat.stop.error) ++seen.failed;
      return 0;
    });
  });
  print(what, world, seen);
}

void measure_chatter() {
  const RepetitionOptions nobody_looks{.report_after = 0, .stop_after = 0};
  chatter("1 chatter: a cap of 100 replies", {.repetition = nobody_looks}, 100);
  // [chatter]
  const ChatOptions options{.token_budget = 20'000,
                            .termination = contains("DONE") & said_by("writer")};
  // [/chatter]
  chatter("1 after: a condition and a budget", options, 10);
}

// --- 2. Parallel chats

void measure_parallel() {
  World before;
  ask_at_once("2 parallel: 600 chats at once, retries only", before,
              {before.model({.limiter = unlimited()})}, 600);
  World world;
  // [parallel]
  const Limiter limits = quota({.requests_per_minute = 500, .tokens_per_minute = 100'000});
  // [/parallel]
  ask_at_once("2 after: the quota stated", world, {world.model({.limiter = limits})}, 600);
}

// --- 3. Stacked retries

void measure_stacked_retries() {
  World before;
  ask_at_once("3 stacked retries: 4 attempts in a loop of 5", before,
              {before.model({.limiter = unlimited()})}, 600, 5);
  World world;
  const Limiter limits = quota({.requests_per_minute = 500, .tokens_per_minute = 100'000});
  // [retries]
  const RetryOptions retry{.max_attempts = 4};  // here, and nowhere else
  // [/retries]
  ask_at_once("3 after: retries in the model only, the quota stated", world,
              {world.model({.limiter = limits, .retry = retry})}, 600);
}

// --- 4. Long outputs

void measure_long_outputs() {
  const Limiter limits = quota({.requests_per_minute = 500, .tokens_per_minute = 100'000});
  World before;
  ask_at_once("4 long outputs: max_output_tokens 8,000 for replies of 20", before,
              {before.model({.limiter = limits, .sampling = {.max_output_tokens = 8'000}})}, 100);
  World world;
  const Limiter again = quota({.requests_per_minute = 500, .tokens_per_minute = 100'000});
  // [outputs]
  const Sampling sampling{.max_output_tokens = 200};
  // [/outputs]
  ask_at_once("4 after: max_output_tokens 200", world,
              {world.model({.limiter = again, .sampling = sampling})}, 100);
}

// --- 5. Several workers on one key

// [workers]
/// The limiter of a worker that shares its key with others.
[[maybe_unused]] Limiter of_this_worker(bool one_host) {
  const QuotaOptions stated{.requests_per_minute = 500, .tokens_per_minute = 100'000};
  if (one_host) return shared_host("/run/shop/openai.quota", stated);  // a file that all map
  return redis({.url = "redis://quota.shop.internal", .name = "openai"}, stated);
}
// [/workers]

void measure_workers() {
  const QuotaOptions stated{.requests_per_minute = 500, .tokens_per_minute = 100'000};
  const auto eight = [](World& world, const std::vector<Limiter>& limiters) {
    std::vector<Model> models;
    for (const Limiter& limiter : limiters) {
      models.push_back(world.model({.limiter = limiter, .sampling = {.max_output_tokens = 100}}));
    }
    return models;
  };
  // Without headers, from which each worker would learn what the others take.
  World before(false);
  std::vector<Limiter> alone;
  for (int i = 0; i < 8; ++i) alone.push_back(quota(stated));
  ask_at_once("5 workers: 8 with the whole quota each", before, eight(before, alone), 2'000);
  World world(false);
  ask_at_once("5 after: 8 that share it", world, eight(world, shared_quota(stated, 8)), 2'000);
}

}  // namespace

int main() {
  fmt::print("{:<58} {:>5} {:>6} {:>9} {:>6} {:>8}\n", "500 requests, 100,000 tokens a minute",
             "chats", "failed", "requests", "429s", "seconds");
  measure_chatter();
  measure_parallel();
  measure_stacked_retries();
  measure_long_outputs();
  measure_workers();
}
