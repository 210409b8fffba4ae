#include "provider_command.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <fstream>
#include <memory>
#include <sstream>

#include "number_flags.hpp"
#include "provider_server.hpp"

namespace moderato {
namespace {

struct ProviderFlags {
  std::uint16_t port = 0;
  std::int64_t rpm = 0;
  std::int64_t tpm = 0;
  std::int64_t input_tpm = 0;
  std::int64_t output_tpm = 0;
  std::int64_t foreign_rpm = 0;
  std::int64_t foreign_tpm = 0;
  std::vector<std::string> limit_changes;
  std::vector<std::string> outages;
  std::int64_t round_headers = 1;
  double late_headers_ms = 0;
  double acceleration = 0;
  std::string log;
  std::string hint = "both";
  std::int64_t max_in_flight = 0;
  std::string evaluator = "minute-bucket";
  bool rejects_charged = false;
  double first_token_ms = 0;
  double per_token_ms = 0;
  double latency_sigma = 0;
  std::vector<std::string> faults;
  std::string script;
  std::string api_key;
  std::uint64_t seed = 1;
  bool no_rate_limit_headers = false;
  bool chunks_together = false;
};

Result<SimulatedScript> read_script(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return fail(ErrorCode::configuration, "cannot read " + path);
  return SimulatedScript::from_json(text.str(), path);
}

Duration milliseconds(double count) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(count));
}

/// "30:600" or "30:600:90000" as numbers; at least two.
Result<std::vector<double>> numbers_in(const std::string& flag, const std::string& text,
                                       std::size_t most, const char* form) {
  std::vector<double> numbers;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ':');) {
    char* end = nullptr;
    numbers.push_back(std::strtod(part.c_str(), &end));
    if (part.empty() || *end != '\0' || !(numbers.back() >= 0 && numbers.back() < 1e12)) {
      numbers.clear();
      break;
    }
  }
  if (numbers.size() < 2 || numbers.size() > most) {
    return fail(ErrorCode::configuration, fmt::format("{} {}: the form is {}", flag, text, form));
  }
  return numbers;
}

/// What changes while the provider runs.
Result<void> add_changes(const ProviderFlags& flags, SimulatedEngineOptions& engine) {
  for (const std::string& text : flags.limit_changes) {
    const auto numbers =
        numbers_in("--limit-change", text, 3, "SECONDS:RPM or SECONDS:RPM:TPM; 0 leaves a limit");
    if (!numbers) return tl::unexpected<Error>(numbers.error());
    engine.quota.changes.push_back(
        {.after = milliseconds((*numbers)[0] * 1000),
         .requests_per_minute = static_cast<std::int64_t>((*numbers)[1]),
         .tokens_per_minute =
             numbers->size() > 2 ? static_cast<std::int64_t>((*numbers)[2]) : std::int64_t{0}});
  }
  std::sort(engine.quota.changes.begin(), engine.quota.changes.end(),
            [](const auto& a, const auto& b) { return a.after < b.after; });
  for (const std::string& text : flags.outages) {
    const auto numbers = numbers_in("--outage", text, 2, "FROM:SECONDS");
    if (!numbers) return tl::unexpected<Error>(numbers.error());
    engine.outages.push_back(
        {.after = milliseconds((*numbers)[0] * 1000), .lasts = milliseconds((*numbers)[1] * 1000)});
  }
  return {};
}

Result<ProviderServerOptions> server_options(const ProviderFlags& flags) {
  ProviderServerOptions options;
  options.port = flags.port;
  options.packet_for_each_piece = !flags.chunks_together;
  options.api_key = flags.api_key;
  options.engine.quota = {.requests_per_minute = flags.rpm,
                          .tokens_per_minute = flags.tpm,
                          .input_tokens_per_minute = flags.input_tpm,
                          .output_tokens_per_minute = flags.output_tpm,
                          .max_in_flight = flags.max_in_flight,
                          .evaluator = *quota_evaluator_from_string(flags.evaluator),
                          .rejects_charged = flags.rejects_charged,
                          .foreign_requests_per_minute = flags.foreign_rpm,
                          .foreign_tokens_per_minute = flags.foreign_tpm,
                          .round_remaining_tokens = flags.round_headers,
                          .headers_late_by = milliseconds(flags.late_headers_ms),
                          .acceleration = flags.acceleration};
  options.engine.hint = *hint_form_from_string(flags.hint);
  if (auto added = add_changes(flags, options.engine); !added) {
    return tl::unexpected<Error>(added.error());
  }
  options.engine.latency = {.first_token = milliseconds(flags.first_token_ms),
                            .per_token = milliseconds(flags.per_token_ms),
                            .sigma = flags.latency_sigma};
  options.engine.seed = flags.seed;
  options.engine.rate_limit_headers = !flags.no_rate_limit_headers;
  for (const std::string& text : flags.faults) {
    const auto fault = simulated_fault_from_string(text);
    if (!fault) return tl::unexpected<Error>(fault.error());
    options.engine.faults.push_back(*fault);
  }
  if (!flags.script.empty()) {
    auto script = read_script(flags.script);
    if (!script) return tl::unexpected<Error>(script.error());
    options.engine.script = std::move(*script);
  }
  return options;
}

std::string log_line(const SimulatedLogEntry& entry) {
  const auto at =
      std::chrono::duration_cast<std::chrono::microseconds>(entry.at.time_since_epoch());
  return fmt::format(
      R"({{"at_us": {}, "request_id": "{}", "status": {}, "input": {}, "output": {}}})"
      "\n",
      at.count(), entry.request_id, entry.status, entry.input, entry.output);
}

/// Shells commonly allow 1,024 open files, and each connection is one.
void allow_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

int run_provider(const ProviderFlags& flags) {
  auto options = server_options(flags);
  if (!options) {
    fmt::print(stderr, "moderato provider: {}\n", options.error().message);
    return 2;
  }
  if (!flags.log.empty()) {
    const auto file = std::make_shared<std::ofstream>(flags.log, std::ios::trunc);
    if (!*file) {
      fmt::print(stderr, "moderato provider: cannot write to {}\n", flags.log);
      return 2;
    }
    options->engine.log = [file](const SimulatedLogEntry& entry) { *file << log_line(entry); };
  }
  allow_open_files();
  boost::asio::io_context io;
  boost::asio::signal_set signals(io, SIGINT, SIGTERM);
  signals.async_wait([](const auto&, int) {});
  ProviderServer server(std::move(*options));
  // The first line is for scripts: it says where the server listens.
  fmt::print("listening on {}\n", server.base_url());
  fmt::print("stats at http://127.0.0.1:{}/stats; ctrl-C ends it\n", server.port());
  std::fflush(stdout);
  io.run();
  fmt::print("{}\n", dump_json(server.stats_json()));
  return 0;
}

}  // namespace

std::function<int()> add_provider_command(CLI::App& program) {
  const auto flags = std::make_shared<ProviderFlags>();
  CLI::App* app = program.add_subcommand(
      "provider", "Runs a simulated provider: chat completions over HTTP, with a quota and faults");
  app->add_option("--port", flags->port, "Port on 127.0.0.1; 0: a free one, which is printed")
      ->capture_default_str();
  app->add_option("--rpm", flags->rpm, "Requests per minute; 0: no limit")->check(not_negative());
  app->add_option("--tpm", flags->tpm, "Tokens per minute; 0: no limit")->check(not_negative());
  app->add_option("--itpm", flags->input_tpm, "Tokens of prompts per minute; 0: no limit")
      ->check(not_negative());
  app->add_option("--otpm", flags->output_tpm, "Tokens of max_tokens per minute; 0: no limit")
      ->check(not_negative());
  app->add_option("--foreign-rpm", flags->foreign_rpm, "Requests per minute that others take")
      ->check(not_negative());
  app->add_option("--foreign-tpm", flags->foreign_tpm, "Tokens per minute that others take")
      ->check(not_negative());
  app->add_option("--limit-change", flags->limit_changes,
                  "SECONDS:RPM[:TPM] after the first request; may be given several times");
  app->add_option("--outage", flags->outages,
                  "FROM:SECONDS after the first request: every answer is 503");
  app->add_option("--hint", flags->hint, "How a 429 says when to come back")
      ->check(CLI::IsMember({"both", "seconds", "milliseconds", "words"}))
      ->capture_default_str();
  app->add_option("--round-headers", flags->round_headers,
                  "State the tokens that are left in multiples of this")
      ->check(positive())
      ->capture_default_str();
  app->add_option("--late-headers-ms", flags->late_headers_ms,
                  "Headers repeat what was told so long before")
      ->check(not_negative());
  app->add_option("--acceleration", flags->acceleration,
                  "Ten seconds bring at most so many times the requests of the ten before; 0: any")
      ->check(not_negative());
  app->add_option("--max-in-flight", flags->max_in_flight, "Requests at once; 0: no limit")
      ->check(not_negative());
  app->add_option("--evaluator", flags->evaluator, "How the quota is counted")
      ->check(CLI::IsMember({"minute-bucket", "10s", "1s-window", "minute-counter"}))
      ->capture_default_str();
  app->add_flag("--rejects-charged", flags->rejects_charged, "A refused request costs one request");
  app->add_option("--first-token-ms", flags->first_token_ms, "Latency of the first token")
      ->check(not_negative());
  app->add_option("--per-token-ms", flags->per_token_ms, "Latency of each further token")
      ->check(not_negative());
  app->add_option("--latency-sigma", flags->latency_sigma,
                  "Spread of latencies: sigma of a log-normal distribution with that mean")
      ->check(CLI::Range(0.0, 3.0));
  app->add_option(
      "--fault", flags->faults,
      "KIND:P (with probability P) or KIND:every=N; may be given several times. Kinds: " +
          fault_kind_names());
  app->add_option(
      "--script", flags->script,
      "JSON file with rules; else the model's name chooses: echo, pingpong-N, tokens-N, "
      "review, weather");
  app->add_option("--api-key", flags->api_key, "Let in only requests with this key");
  app->add_option("--seed", flags->seed, "Of faults and latencies")->capture_default_str();
  app->add_flag("--no-rate-limit-headers", flags->no_rate_limit_headers,
                "Leave the x-ratelimit-* headers out");
  app->add_flag("--chunks-together", flags->chunks_together,
                "Send all pieces of a stream at once instead of a packet each");
  app->add_option("--log", flags->log,
                  "Write a line of JSON for each request: at_us (monotonic clock), request_id, "
                  "status, input (tokens), output (max_tokens)");
  return [flags] { return run_provider(*flags); };
}

}  // namespace moderato
