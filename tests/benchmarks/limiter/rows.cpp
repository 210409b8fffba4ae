// What the limiter reaches in the situations that a quota brings, in virtual time: models with a
// shared quota in front of the simulated provider, 5 seeds each, one line for each figure with its
// median, its range and what was aimed at. Ends with 1 where a median misses its aim.
// Deterministic.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <moderato/moderato.hpp>
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

/// A fleet of chats that ask again as soon as they have thought.
struct Plan {
  SimulatedOptions provider{};
  /// One limiter for each process.
  std::function<std::vector<Limiter>()> limiters{};
  std::size_t chats = 64;
  std::size_t tenants = 4;
  bool one_call_chats = false;  ///< Each call is a conversation of its own.
  double tokens = 2000;         ///< Mean of a prompt.
  double latency = 6;           ///< Mean, in seconds.
  double think = 1;             ///< Mean, in seconds.
  Duration whole = 10min;
  Duration dropped = 2min;  ///< Not counted, from the start.
};

struct Answered {
  Duration at{};
  std::int64_t tokens = 0;
  std::size_t chat = 0;
  std::size_t tenant = 0;
  double waited = 0;  // seconds
  double busy = 0;    // latency and thinking
};

struct Seen {
  std::vector<Answered> answered;
  std::vector<Duration> refused;   ///< 429s of the provider.
  std::vector<Duration> attempts;  ///< Requests that left.
  std::int64_t failed = 0;         ///< Calls that ended with an error.
  std::vector<double> dishonest;   ///< |announced - waited|, in seconds.

  [[nodiscard]] double tokens(Duration from, Duration to) const {
    double sum = 0;
    for (const Answered& one : answered) {
      if (one.at >= from && one.at < to) sum += static_cast<double>(one.tokens);
    }
    return sum;
  }
  /// Of a quota of `per_minute` in that time.
  [[nodiscard]] double efficiency(Duration from, Duration to, double per_minute = tpm) const {
    return tokens(from, to) / (per_minute * seconds_of(to - from) / 60);
  }
  [[nodiscard]] std::int64_t count(const std::vector<Duration>& times, Duration from,
                                   Duration to) const {
    return std::count_if(times.begin(), times.end(),
                         [&](Duration at) { return at >= from && at < to; });
  }
};

class Fleet {
 public:
  Fleet(Plan plan, std::uint64_t seed) : plan_(std::move(plan)), seed_(seed) {
    plan_.provider.model = "echo";
    plan_.provider.script = SimulatedScript::from_json(R"({"rules": [{"reply": "Yes."}]})").value();
    plan_.provider.latency = {.first_token = from_seconds(plan_.latency), .sigma = 0.5};
    plan_.provider.seed = seed;
    const SimulatedProvider provider(plan_.provider);
    for (const Limiter& limiter : plan_.limiters()) {
      models_.push_back(world_.model(provider.provider(), {.limiter = limiter}));
    }
  }

  Seen measure() {
    begin_ = world_.clock().now();
    for (std::size_t chat = 0; chat < plan_.chats; ++chat) {
      world_.spawn([this, chat] { hold(chat); });
    }
    world_.run();
    return std::move(seen_);
  }

 private:
  [[nodiscard]] Duration passed() const { return world_.clock().now() - begin_; }

  void hold(std::size_t chat) {
    std::mt19937_64 random(seed_ * 1'000 + chat);
    std::lognormal_distribution<double> cost(std::log(plan_.tokens) - 0.32, 0.8);
    std::exponential_distribution<double> think(1.0 / plan_.think);
    const Model& model = models_[models_.size() == 1 ? 0 : process_of(chat)];
    sleep_for(from_seconds(think(random)));
    while (passed() < plan_.whole) {
      const double tokens = std::clamp(cost(random), plan_.tokens / 10, plan_.tokens * 10);
      ModelRequest request{.messages = {store(Message::user(
                               std::string(static_cast<std::size_t>(4 * tokens), 'x')))}};
      request.sampling.max_output_tokens = 16;
      ask(model, request, chat, think(random));
    }
  }

  void ask(const Model& model, const ModelRequest& request, std::size_t chat, double pause) {
    const CallContext context{
        .session =
            plan_.one_call_chats ? fmt::format("call {}", ++calls_) : fmt::format("chat {}", chat),
        .tenant = fmt::format("t{}", chat % plan_.tenants),
        .observer = Observer([this, chat](const Event& event) { note(chat, event); })};
    const Duration asked = passed();
    announced_.erase(chat);
    const auto reply = model.complete(request, context);
    const Duration answered = passed();
    if (reply && answered >= plan_.dropped && answered < plan_.whole) {
      const double waited = waited_[chat];
      seen_.answered.push_back({.at = answered,
                                .tokens = std::max<std::int64_t>(reply->usage.input, 16),
                                .chat = chat,
                                .tenant = chat % plan_.tenants,
                                .waited = waited,
                                .busy = seconds_of(answered - asked) - waited + pause});
    }
    if (!reply) ++seen_.failed;
    sleep_for(from_seconds(pause));
  }

  void note(std::size_t chat, const Event& event) {
    if (const auto* queued = std::get_if<CallQueued>(&event.data)) {
      announced_[chat] = seconds_of(queued->expected_wait);
    } else if (const auto* admitted = std::get_if<CallAdmitted>(&event.data)) {
      waited_[chat] = seconds_of(admitted->waited);
      const auto said = announced_.find(chat);
      if (said != announced_.end() && passed() >= plan_.dropped) {
        seen_.dishonest.push_back(std::abs(said->second - waited_[chat]));
      }
    } else if (std::holds_alternative<CallSent>(event.data)) {
      seen_.attempts.push_back(passed());
    } else if (const auto* rejected = std::get_if<CallRejected>(&event.data)) {
      if (rejected->record.http_status == 429) seen_.refused.push_back(passed());
    }
  }

  [[nodiscard]] std::size_t process_of(std::size_t chat) const {
    return chat < plan_.chats / 2 ? 0 : 1 + chat % (models_.size() - 1);
  }

  Simulation world_{SimulationOptions{.keep_event_log = false}};
  Plan plan_;
  std::uint64_t seed_;
  std::vector<Model> models_;
  Instant begin_{};
  std::uint64_t calls_ = 0;
  Seen seen_;
  std::map<std::size_t, double> waited_;
  std::map<std::size_t, double> announced_;
};

// --- Rows ----------------------------------------------------------------------------------------

struct Figure {
  std::string name{};
  double value = 0;
  double aim = 0;
  bool at_least = true;
};
using Figures = std::vector<Figure>;

SimulatedQuotaOptions stated_quota() {
  return {.requests_per_minute = rpm, .tokens_per_minute = tpm};
}
QuotaOptions told_quota() {
  return {.requests_per_minute = rpm, .tokens_per_minute = tpm, .profile = profiles::openai};
}
Plan told() {
  Plan plan;
  plan.provider.quota = stated_quota();
  plan.limiters = [] { return shared_quota(told_quota(), processes); };
  return plan;
}

Figures saturation(std::uint64_t seed) {
  const Plan plan = told();
  const Seen seen = Fleet(plan, seed).measure();
  const auto calls = static_cast<double>(std::max<std::size_t>(seen.answered.size(), 1));
  return {{"eta", seen.efficiency(plan.dropped, plan.whole), 0.985},
          {"429 per 1000 calls", 1000 * static_cast<double>(seen.refused.size()) / calls, 0, false},
          {"failed calls", static_cast<double>(seen.failed), 0, false}};
}

Figures below(std::uint64_t seed) {
  Plan plan = told();
  plan.latency = 36;
  plan.think = 7;
  plan.whole = 60min;  // the two runs draw different latencies: long enough that it evens out
  const Seen seen = Fleet(plan, seed).measure();
  Plan free = plan;  // what the same chats ask for when nobody limits them
  free.provider.quota = {};
  free.limiters = [] { return std::vector<Limiter>(processes, unlimited()); };
  const Seen offered = Fleet(free, seed).measure();
  std::vector<double> waits;
  for (const Answered& one : seen.answered) waits.push_back(1000 * one.waited);
  return {{"served of offered",
           seen.tokens(plan.dropped, plan.whole) / offered.tokens(plan.dropped, plan.whole), 0.98},
          {"added wait p50, ms", percentile(waits, 0.5), 1, false},
          {"429s", static_cast<double>(seen.refused.size()), 0, false}};
}

/// How far the shares of four tenants are off their weights 1:2:3:4, in percent.
double off_weights(std::uint64_t seed, std::size_t limiters) {
  Plan plan = told();
  plan.limiters = [limiters] {
    QuotaOptions options = told_quota();
    options.queue.tenant_weights = {{"t0", 1}, {"t1", 2}, {"t2", 3}, {"t3", 4}};
    return limiters == 1 ? std::vector<Limiter>{quota(options)} : shared_quota(options, limiters);
  };
  plan.whole = 20min;
  const Seen seen = Fleet(plan, seed).measure();
  std::vector<double> shares(4);
  double all = 0;
  for (const Answered& one : seen.answered) {
    shares[one.tenant] += static_cast<double>(one.tokens);
    all += static_cast<double>(one.tokens);
  }
  double off = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    off = std::max(off, std::abs(shares[i] / all / (static_cast<double>(i + 1) / 10) - 1));
  }
  return 100 * off;
}

/// What the process gets that holds half of 300 chats, of what all get; off a half, in percent.
double off_half(std::uint64_t seed) {
  Plan plan;
  plan.provider.quota = {.requests_per_minute = 15 * rpm, .tokens_per_minute = 30 * tpm};
  plan.limiters = [] {
    QuotaOptions options = told_quota();
    options.requests_per_minute *= 15;
    options.tokens_per_minute *= 30;
    return shared_quota(options, processes);
  };
  plan.chats = 300;
  plan.latency = 1;
  plan.think = 0.2;
  plan.whole = 3min;
  plan.dropped = 30s;
  const Seen seen = Fleet(plan, seed).measure();
  double half = 0;
  double all = 0;
  for (const Answered& one : seen.answered) {
    all += static_cast<double>(one.tokens);
    if (one.chat < plan.chats / 2) half += static_cast<double>(one.tokens);
  }
  return 100 * std::abs(half / all / 0.5 - 1);
}

Figures fairness(std::uint64_t seed) {
  const Seen equal = Fleet(told(), seed).measure();
  std::vector<double> shares(4);
  for (const Answered& one : equal.answered) shares[one.tenant] += static_cast<double>(one.tokens);
  return {{"Jain of equal tenants", jain(shares), 0.99},
          {"off weights 1:2:3:4, 1 process, %", off_weights(seed, 1), 2, false},
          {"off weights, 8 processes, %", off_weights(seed, processes), 2, false},
          {"process with half of the chats, off, %", off_half(seed), 5, false}};
}

Figures honesty(std::uint64_t seed) {
  Plan plan = told();
  plan.tenants = 1;
  plan.chats = 32;
  plan.one_call_chats = true;  // those of longer ones let others go first
  plan.limiters = [] { return std::vector<Limiter>{quota(told_quota())}; };
  const Seen seen = Fleet(plan, seed).measure();
  return {{"|announced - waited| p50, ms", 1000 * percentile(seen.dishonest, 0.5), 50, false},
          {"|announced - waited| p99, ms", 1000 * percentile(seen.dishonest, 0.99), 50, false}};
}

Figures foreign(std::uint64_t seed) {
  Plan plan = told();
  plan.provider.quota.foreign_tokens_per_minute = tpm * 4 / 10;
  const Seen seen = Fleet(plan, seed).measure();
  return {{"eta of what is left", seen.efficiency(plan.dropped, plan.whole, tpm * 0.6), 0.93},
          {"429 a minute",
           static_cast<double>(seen.count(seen.refused, plan.dropped, plan.whole)) /
               (seconds_of(plan.whole - plan.dropped) / 60),
           2, false}};
}

Figures unknown_with_headers(std::uint64_t seed) {
  Plan plan;
  plan.provider.quota = stated_quota();
  plan.limiters = [] { return std::vector<Limiter>{adaptive()}; };
  const Seen seen = Fleet(plan, seed).measure();
  return {{"eta", seen.efficiency(plan.dropped, plan.whole), 0.95},
          {"429s in 10 min", static_cast<double>(seen.refused.size()), 10, false},
          {"failed calls", static_cast<double>(seen.failed), 0, false}};
}

Figures unknown_without_headers(std::uint64_t seed) {
  Plan plan;
  plan.provider.quota = stated_quota();
  plan.provider.rate_limit_headers = false;
  plan.limiters = [] { return std::vector<Limiter>{adaptive()}; };
  const Seen seen = Fleet(plan, seed).measure();
  return {{"eta after 120 s", seen.efficiency(plan.dropped, plan.whole), 0.85},
          {"429s in the first 120 s", static_cast<double>(seen.count(seen.refused, {}, 120s)), 10,
           false},
          {"failed calls", static_cast<double>(seen.failed), 0, false}};
}

Figures halved(std::uint64_t seed) {
  Plan plan = told();
  plan.provider.quota.changes = {
      {.after = 4min, .requests_per_minute = rpm / 2, .tokens_per_minute = tpm / 2}};
  const Seen seen = Fleet(plan, seed).measure();
  return {
      {"eta before", seen.efficiency(plan.dropped, 4min), 0.97},
      {"429s after it", static_cast<double>(seen.count(seen.refused, 4min, plan.whole)), 3, false},
      {"eta of the new one, from 5 s on", seen.efficiency(4min + 5s, plan.whole, tpm / 2.0), 0.97}};
}

Figures outage(std::uint64_t seed) {
  Plan plan = told();
  plan.latency = 1;  // so that answers show when the calls went
  plan.provider.outages = {{.after = 4min, .lasts = 60s}};
  const Seen seen = Fleet(plan, seed).measure();
  // The first requests that find it down are those that were under way.
  return {
      {"attempts in it", static_cast<double>(seen.count(seen.attempts, 4min, 5min)), 20, false},
      {"eta from 5 s after it", seen.efficiency(5min + 5s, 7min), 0.95},
      {"429s after it", static_cast<double>(seen.count(seen.refused, 5min, plan.whole)), 0, false}};
}

Figures one_budget(std::uint64_t seed) {
  Simulation world{SimulationOptions{.seed = seed, .keep_event_log = false}};
  const SimulatedProvider provider(
      {.model = "review", .latency = {.first_token = 2s, .sigma = 0.5}, .seed = seed});
  const Model model = world.model(provider.provider(), {.limiter = unlimited()});
  const AssistantAgent agent({.name = "agent", .model = model});
  const UserProxyAgent user(
      {.name = "user", .human_input_mode = HumanInputMode::never, .default_auto_reply = "Go on."});
  const auto budget = TokenBudget::make(20'000);
  std::vector<int> chats(64);
  world.parallel(chats, {.max_in_flight = 64}, [&](int&) {
    (void)user.initiate_chat(agent, "Review this.", {.shared_budget = budget});
  });
  const SimulatedStats stats = provider.stats();
  const auto billed = static_cast<double>(stats.input_tokens + stats.output_tokens);
  return {{"tokens billed above the budget", std::max(0.0, billed - 20'000), 0, false},
          {"share of the budget that was used", billed / 20'000, 0.9}};
}

struct Row {
  const char* name;
  Figures (*measure)(std::uint64_t seed);
};
constexpr Row rows[] = {{"saturation", saturation},
                        {"below", below},
                        {"fairness", fairness},
                        {"honesty", honesty},
                        {"foreign", foreign},
                        {"unknown-with-headers", unknown_with_headers},
                        {"unknown-without-headers", unknown_without_headers},
                        {"halved", halved},
                        {"outage", outage},
                        {"budget", one_budget}};

/// True if the medians reach their aims.
bool print_row(const Row& row) {
  constexpr std::uint64_t seeds = 5;
  std::vector<Figures> all;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) all.push_back(row.measure(seed));
  bool reached = true;
  for (std::size_t i = 0; i < all[0].size(); ++i) {
    std::vector<double> values;
    for (const Figures& figures : all) values.push_back(figures[i].value);
    std::sort(values.begin(), values.end());
    const double median = values[seeds / 2];
    const Figure& figure = all[0][i];
    const bool good = figure.at_least ? median >= figure.aim : median <= figure.aim;
    reached = reached && good;
    fmt::print("{:<24} {:<39} {:>8.3f} ({:.3f} - {:.3f})  {} {:g}  {}\n", i == 0 ? row.name : "",
               figure.name, median, values.front(), values.back(),
               figure.at_least ? ">=" : "<=", figure.aim, good ? "reached" : "MISSED");
  }
  return reached;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> wanted(argv + 1, argv + argc);
  bool reached = true;
  std::size_t found = 0;
  fmt::print("{:<24} {:<39} {:>8} (range of 5 seeds)\n", "situation", "figure", "median");
  for (const Row& row : rows) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), row.name) == wanted.end())
      continue;
    ++found;
    reached = print_row(row) && reached;
  }
  if (found == 0 || found < wanted.size()) {
    fmt::print(stderr, "a situation is not known; there are:");
    for (const Row& row : rows) fmt::print(stderr, " {}", row.name);
    fmt::print(stderr, "\n");
    return 2;
  }
  return reached ? 0 : 1;
}
