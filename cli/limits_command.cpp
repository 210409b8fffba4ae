#include "limits_command.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <moderato/core/clock.hpp>
#include <moderato/core/wait.hpp>
#include <moderato/llm/limiter/backends/redis.hpp>
#include <moderato/llm/limiter/backends/shared_host.hpp>
#include <nlohmann/json.hpp>
#include <string>

namespace moderato {
namespace {

struct LimitsFlags {
  std::string where;
  std::string name = "quota";
  double watch = 0;
  bool json = false;
};

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

Result<KeySnapshot> look(const LimitsFlags& flags, Instant now) {
  const bool url = flags.where.find("://") != std::string::npos;
  if (url) return snapshot_of_redis({.url = flags.where, .name = flags.name});
  return snapshot_of_shared_host(flags.where, now).map([](SharedHostSnapshot snapshot) {
    return std::move(snapshot.key);
  });
}

void print_json(const KeySnapshot& key, Instant now) {
  nlohmann::ordered_json limits = nlohmann::ordered_json::array();
  for (const auto& limit : key.dimensions) {
    limits.push_back({{"name", limit.name},
                      {"limit", limit.limit},
                      {"period_s", seconds(limit.period)},
                      {"level", limit.level},
                      {"learnt", limit.learnt},
                      {"foreign_per_s", limit.foreign_rate}});
  }
  const nlohmann::ordered_json all{{"state", key.state},
                                   {"why", key.why},
                                   {"for_s", key.until > now ? seconds(key.until - now) : 0.0},
                                   {"limits", limits},
                                   {"in_flight", key.in_flight},
                                   {"max_in_flight", key.max_in_flight},
                                   {"waiting", key.waiting},
                                   {"processes", key.owners},
                                   {"granted", key.granted},
                                   {"rejected", key.rejections},
                                   {"retries_left", key.retries_left}};
  fmt::print("{}\n", all.dump());
}

std::string without_password(const std::string& where) {
  const std::size_t host = where.rfind('@');
  const std::size_t scheme = where.find("://");
  if (host == std::string::npos || scheme == std::string::npos || host < scheme) return where;
  return where.substr(0, scheme + 3) + where.substr(host + 1);
}

void print_table(const KeySnapshot& key, Instant now) {
  std::string state = key.state;
  if (key.until > now) state += fmt::format(" for {:.1f} s", seconds(key.until - now));
  if (!key.why.empty()) state += ": " + key.why;
  fmt::print("state       {}\n", state);
  fmt::print("{:<11} {:>12} {:>12} {:>9}\n", "limit", "of", "level", "per");
  for (const auto& limit : key.dimensions) {
    fmt::print("{:<11} {:>12} {:>12} {:>7.0f} s{}\n", limit.name, limit.limit, limit.level,
               seconds(limit.period), limit.learnt ? "  learnt" : "");
  }
  const std::string slots = key.max_in_flight > 0 ? std::to_string(key.max_in_flight) : "any";
  fmt::print("in flight   {} of {}\n", key.in_flight, slots);
  fmt::print("processes   {}, with {} calls next in line\n", key.owners, key.waiting);
  fmt::print("granted     {}, refused by the provider {}\n", key.granted, key.rejections);
  fmt::print("retries     {:.1f} left\n", key.retries_left);
}

int run_limits(const LimitsFlags& flags) {
  const SteadyClock clock;
  for (;;) {
    const Instant now = clock.now();
    const auto key = look(flags, now);
    if (!key) {
      const std::string where = without_password(flags.where);
      const std::string& what = key.error().message;
      const bool named = what.find(where) != std::string::npos;
      fmt::print(stderr, "moderato limits: {}{}\n", named ? "" : where + ": ", what);
      return 1;
    }
    if (flags.watch > 0 && !flags.json) fmt::print("\033[H\033[J");
    if (flags.json) {
      print_json(*key, now);
    } else {
      print_table(*key, now);
    }
    std::fflush(stdout);
    if (flags.watch <= 0) return 0;
    sleep_for(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(flags.watch)));
  }
}

}  // namespace

std::function<int()> add_limits_command(CLI::App& program) {
  auto flags = std::make_shared<LimitsFlags>();
  auto* command = program.add_subcommand("limits", "Show the live state of a shared quota.");
  command->add_option("where", flags->where, "The file of shared_host(), or redis://host[:port]")
      ->required();
  command->add_option("--name", flags->name, "With Redis: the quota's name")->capture_default_str();
  command
      ->add_option("--watch", flags->watch,
                   "Show it again every so many seconds, until interrupted")
      ->expected(0, 1)
      ->default_str("1")
      ->check(CLI::Range(0.1, 3600.0));
  command->add_flag("--json", flags->json, "One JSON line each time instead of a table");
  return [flags] { return run_limits(*flags); };
}

}  // namespace moderato
