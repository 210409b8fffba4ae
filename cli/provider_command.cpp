#include "provider_command.hpp"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <charconv>
#include <fstream>
#include <memory>
#include <sstream>

#include "provider_server.hpp"

namespace moderato {
namespace {

struct ProviderFlags {
  std::uint16_t port = 0;
  std::int64_t rpm = 0;
  std::int64_t tpm = 0;
  std::int64_t max_in_flight = 0;
  std::string evaluator = "minute-bucket";
  bool rejects_charged = false;
  double first_token_ms = 0;
  double per_token_ms = 0;
  double latency_spread = 0;
  std::vector<std::string> faults;
  std::string script;
  std::string api_key;
  std::uint64_t seed = 1;
  bool no_rate_limit_headers = false;
  bool chunks_together = false;
};

constexpr const char* fault_help =
    "KIND:P (with probability P) or KIND:every=N. Kinds: 500, 503, reset, stall, truncated, malformed, "
    "slow-down, insufficient-quota, 429-without-hint. May be given several times";

/// Reads "KIND:0.1" or "KIND:every=7"; throws CLI::ValidationError.
SimulatedFault read_fault(const std::string& text) {
  const auto wrong = [&](std::string_view why) {
    return CLI::ValidationError("--fault", fmt::format("\"{}\": {}", text, why));
  };
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) throw wrong("write KIND:PROBABILITY or KIND:every=N");
  const auto kind = fault_kind_from_string(std::string_view(text).substr(0, colon));
  if (!kind || *kind == FaultKind::none) throw wrong("unknown kind of fault");
  SimulatedFault fault{.kind = *kind};
  std::string_view how = std::string_view(text).substr(colon + 1);
  constexpr std::string_view every = "every=";
  if (how.substr(0, every.size()) == every) {
    how.remove_prefix(every.size());
    const auto [end, error] = std::from_chars(how.data(), how.data() + how.size(), fault.every);
    if (error != std::errc() || end != how.data() + how.size() || fault.every < 1) {
      throw wrong("N must be a whole number from 1");
    }
  } else {
    const auto [end, error] = std::from_chars(how.data(), how.data() + how.size(), fault.probability);
    if (error != std::errc() || end != how.data() + how.size() || !(fault.probability >= 0.0) ||
        fault.probability > 1.0) {
      throw wrong("the probability must lie between 0 and 1");
    }
  }
  return fault;
}

SimulatedScript read_script(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw CLI::ValidationError("--script", "cannot read " + path);
  auto script = SimulatedScript::from_json(text.str(), path);
  if (!script) throw CLI::ValidationError("--script", script.error().message);
  return std::move(*script);
}

Duration milliseconds(double count) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(count));
}

ProviderServerOptions server_options(const ProviderFlags& flags) {
  ProviderServerOptions options{.port = flags.port,
                                .packet_for_each_piece = !flags.chunks_together,
                                .api_key = flags.api_key};
  options.engine.quota = {.requests_per_minute = flags.rpm,
                          .tokens_per_minute = flags.tpm,
                          .max_in_flight = flags.max_in_flight,
                          .evaluator = *quota_evaluator_from_string(flags.evaluator),
                          .rejects_charged = flags.rejects_charged};
  options.engine.latency = {.first_token = milliseconds(flags.first_token_ms),
                            .per_token = milliseconds(flags.per_token_ms),
                            .spread = flags.latency_spread};
  options.engine.seed = flags.seed;
  options.engine.rate_limit_headers = !flags.no_rate_limit_headers;
  for (const std::string& fault : flags.faults) options.engine.faults.push_back(read_fault(fault));
  if (!flags.script.empty()) options.engine.script = read_script(flags.script);
  return options;
}

int run_provider(const ProviderFlags& flags) {
  std::unique_ptr<ProviderServer> server;
  try {
    server = std::make_unique<ProviderServer>(server_options(flags));
  } catch (const CLI::ValidationError& error) {
    fmt::print(stderr, "moderato provider: {}\n", error.what());
    return 2;
  } catch (const std::runtime_error& error) {
    fmt::print(stderr, "moderato provider: {}\n", error.what());
    return 1;
  }
  // The first line is for scripts: it says where the server listens.
  fmt::print("listening on {}\n", server->base_url());
  fmt::print("stats at http://127.0.0.1:{}/stats; ctrl-C ends it\n", server->port());
  std::fflush(stdout);
  boost::asio::io_context io;
  boost::asio::signal_set signals(io, SIGINT, SIGTERM);
  signals.async_wait([](const auto&, int) {});
  io.run();
  fmt::print("{}\n", dump_json(server->stats_json()));
  return 0;
}

}  // namespace

std::function<int()> add_provider_command(CLI::App& program) {
  const auto flags = std::make_shared<ProviderFlags>();
  CLI::App* app = program.add_subcommand(
      "provider", "Runs a simulated provider: chat completions over HTTP, with a quota and faults");
  app->add_option("--port", flags->port, "Port on 127.0.0.1; 0: a free one, which is printed")
      ->capture_default_str();
  app->add_option("--rpm", flags->rpm, "Requests per minute; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--tpm", flags->tpm, "Tokens per minute; 0: no limit")->check(CLI::NonNegativeNumber);
  app->add_option("--max-in-flight", flags->max_in_flight, "Requests at once; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--evaluator", flags->evaluator, "How the quota is counted")
      ->check(CLI::IsMember({"minute-bucket", "10s", "1s-window", "minute-counter"}))
      ->capture_default_str();
  app->add_flag("--rejects-charged", flags->rejects_charged, "A refused request costs one request");
  app->add_option("--first-token-ms", flags->first_token_ms, "Latency of the first token")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--per-token-ms", flags->per_token_ms, "Latency of each further token")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--latency-spread", flags->latency_spread, "Latencies vary by this share")
      ->check(CLI::Range(0.0, 1.0));
  app->add_option("--fault", flags->faults, fault_help);
  app->add_option("--script", flags->script,
                  "JSON file with rules; else the model's name chooses: echo, pingpong-N, tokens-N, "
                  "review, weather");
  app->add_option("--api-key", flags->api_key, "Let in only requests with this key");
  app->add_option("--seed", flags->seed, "Of faults and latencies")->capture_default_str();
  app->add_flag("--no-rate-limit-headers", flags->no_rate_limit_headers,
                "Leave the x-ratelimit-* headers out");
  app->add_flag("--chunks-together", flags->chunks_together,
                "Send all pieces of a stream at once instead of a packet each");
  return [flags] { return run_provider(*flags); };
}

}  // namespace moderato
