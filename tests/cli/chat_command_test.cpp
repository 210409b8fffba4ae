#include <doctest/doctest.h>

#include <csignal>
#include <moderato/core/json.hpp>
#include <moderato/core/version.hpp>
#include <sstream>

#include "program.hpp"
#include "provider_server.hpp"

using namespace moderato;

namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

ProviderServerOptions with_fault(FaultKind kind) {
  ProviderServerOptions options;
  options.engine.faults = {{.kind = kind, .every = 1}};
  return options;
}

}  // namespace

TEST_CASE("the program says its version") {
  const Ended ended = run({"--version"});
  CHECK(ended.code == 0);
  CHECK(ended.out == std::string(version) + "\n");
}

TEST_CASE("--help of chat lists every flag and the exit codes") {
  const Ended ended = run({"chat", "--help"});
  CHECK(ended.code == 0);
  for (const char* flag : {"--system",
                           "--partner-system",
                           "--reply",
                           "--human",
                           "--model",
                           "--base-url",
                           "--ca-file",
                           "--simulate",
                           "--price-in",
                           "--price-out",
                           "--stop-word",
                           "--max-turns",
                           "--max-replies",
                           "--token-budget",
                           "--max-output-tokens",
                           "--timeout",
                           "--rpm",
                           "--tpm",
                           "--max-in-flight",
                           "--stream",
                           "--no-stream",
                           "--json",
                           "--colour",
                           "OPENAI_API_KEY",
                           "Exit codes"}) {
    CAPTURE(flag);
    CHECK(has(ended.out, flag));
  }
}

TEST_CASE("a wrong flag is named, and the exit code is 2") {
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong{
      {{}, "subcommand"},
      {{"chat", "--rmp", "3", "hello"}, "--rmp"},
      {{"chat", "--rpm", "-3", "hello"}, "--rpm"},
      {{"chat", "--rpm", "many", "hello"}, "--rpm"},
      {{"chat", "--human", "sometimes", "hello"}, "--human"},
      {{"chat", "--ca-file", "/no/such/file", "hello"}, "--ca-file"},
      {{"chat", "--simulate", "--base-url", "http://127.0.0.1", "hello"}, "--base-url"},
      {{"chat", "--simulate", "--human", "always"}, "--human"},
      {{"chat", "--simulate"}, "task"},
      {{"provider", "--port", "70000"}, "--port"},
      {{"provider", "--evaluator", "daily"}, "--evaluator"},
      {{"provider", "--fault", "flood:1"}, "flood"},
      {{"provider", "--script", "/no/such/file"}, "/no/such/file"},
  };
  for (const auto& [arguments, named] : wrong) {
    const Ended ended = run(arguments);
    CAPTURE(ended.err);
    CHECK(ended.code == 2);
    CHECK(has(ended.err, named));
    CHECK(ended.out.empty());
  }
}

TEST_CASE("a simulated chat is shown and summed up") {
  const Ended ended =
      run({"chat", "--simulate", "--price-in", "1", "--price-out", "2", "Review this contract."});
  CAPTURE(ended.err);
  CHECK(ended.code == 0);
  CHECK(has(ended.out, "Review this contract."));
  CHECK(has(ended.out, "The review is complete"));
  CHECK(has(ended.out, "stopped: termination_message: ends_with(\"TERMINATE\") by user"));
  CHECK(has(ended.out, "\n3 calls, "));
  CHECK(has(ended.out, "cost 0.000"));
  CHECK_FALSE(has(ended.out, "\x1b["));  // no terminal, no colours
  CHECK(ended.err.empty());
}

TEST_CASE("the task may come on standard input") {
  const Ended ended = run({"chat", "--simulate", "--max-turns", "1"}, {.input = "From a pipe."});
  CHECK(ended.code == 0);
  CHECK(has(ended.out, "From a pipe."));
  CHECK(has(ended.out, "stopped: max_turns"));
}

TEST_CASE("two agents with the model talk to each other") {
  const Ended ended = run({"chat", "--simulate", "--model", "pingpong-3", "--partner-system",
                           "You ask questions.", "Begin."});
  CHECK(ended.code == 0);
  CHECK(has(ended.out, "Reply 1."));
  CHECK(has(ended.out, "Reply 3. TERMINATE"));
}

TEST_CASE("--json prints one event a line and nothing else") {
  const Ended ended = run({"chat", "--simulate", "--json", "Review this contract."});
  CHECK(ended.code == 0);
  std::istringstream lines(ended.out);
  int events = 0;
  bool stopped = false;
  for (std::string line; std::getline(lines, line); ++events) {
    const auto event = parse_json(line);
    REQUIRE(event.has_value());
    stopped = event->at("event") == "stopped";
  }
  CHECK(events > 10);
  CHECK(stopped);  // it is the last one
  CHECK(has(ended.err, "stopped: termination_message"));
}

TEST_CASE("--colour always colours also without a terminal") {
  CHECK(has(run({"chat", "--simulate", "--colour", "always", "Hello."}).out, "\x1b["));
}

TEST_CASE("a budget smaller than the first prompt sends nothing") {
  const ProviderServer server;
  const Ended ended =
      run({"chat", "--base-url", server.base_url(), "--token-budget", "5", "Hello."});
  CAPTURE(ended.err);
  CHECK(has(ended.out, "stopped: token_budget"));
  CHECK(has(ended.out, "\n0 calls, 0 tokens"));
  CHECK(server.stats().requests == 0);
}

TEST_CASE("a chat without a key for OpenAI says so and sends nothing") {
  const Ended ended = run({"chat", "Hello."});
  CHECK(ended.code == 1);
  CHECK(has(ended.out, "Hello."));  // the transcript so far
  CHECK(has(ended.out, "stopped: model_error"));
  CHECK(has(ended.out, "authentication"));
  CHECK(has(ended.err, "no key in $OPENAI_API_KEY"));
  CHECK(has(ended.err, "--simulate"));
}

TEST_CASE(
    "a wrong URL and an unreachable host are told apart, the transcript kept, the key hidden") {
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"ftp://127.0.0.1", "configuration"},
      {"not a url", "configuration"},
      {"http://127.0.0.1:1/v1", "connection"},
  };
  for (const auto& [url, error] : wrong) {
    const Ended ended = run({"chat", "--base-url", url, "--timeout", "20", "Hello."},
                            {.environment = {"OPENAI_API_KEY=sk-very-secret"}});
    CAPTURE(ended.out);
    CHECK(ended.code == 1);
    CHECK(has(ended.out, "Hello."));
    CHECK(has(ended.out, error));
    CHECK_FALSE(has(ended.out + ended.err, "sk-very-secret"));
  }
}

TEST_CASE("a refused key is an authentication error that does not show it") {
  ProviderServerOptions options;
  options.api_key = "sk-right";
  const ProviderServer server(options);
  const std::vector<std::string> chat{"chat", "--base-url", server.base_url(), "Hello."};
  const Ended refused = run(chat, {.environment = {"OPENAI_API_KEY=sk-wrong"}});
  CHECK(refused.code == 1);
  CHECK(has(refused.out, "authentication"));
  CHECK_FALSE(has(refused.out + refused.err, "sk-wrong"));
  CHECK(run(chat, {.environment = {"OPENAI_API_KEY=sk-right"}}).code == 0);
}

TEST_CASE("an unpaid bill is not retried") {
  const ProviderServer server(with_fault(FaultKind::insufficient_quota));
  const Ended ended = run({"chat", "--base-url", server.base_url(), "Hello."});
  CHECK(ended.code == 1);
  CHECK(has(ended.out, "quota_exhausted"));
  CHECK(server.stats().requests == 1);
}

TEST_CASE("a command or a number that is none is said so, in words") {
  const Ended command = run({"chatt", "Hello."});
  CHECK(command.code == 2);
  CHECK(has(command.err, "there is no command \"chatt\"; there are: chat, check, doctor"));
  const Ended number = run({"chat", "--rpm", "-3", "Hello."});
  CHECK(number.code == 2);
  CHECK(has(number.err, "--rpm: \"-3\" is no number of 0 or more"));
  CHECK(has(run({"provider", "--round-headers", "0"}).err, "\"0\" is no number above 0"));
  CHECK(has(run({"run", "/"}).err, "/ is a folder"));
}

TEST_CASE("ctrl-C ends a chat that waits, keeps the transcript and sums up") {
  const ProviderServer server(with_fault(FaultKind::stall));
  Program chat({"chat", "--base-url", server.base_url(), "Are you there?"});
  REQUIRE(chat.printed("Are you there?"));
  chat.signal(SIGINT);
  const Ended ended = chat.wait();
  CHECK(ended.code == 130);
  CHECK(has(ended.out, "stopped: cancelled"));
  CHECK(has(ended.out, "0 calls"));
}

TEST_CASE("what was said before ctrl-C is printed and counted") {
  ProviderServerOptions options;
  options.engine.faults = {{.kind = FaultKind::stall, .every = 2}};
  options.engine.script =
      SimulatedScript::from_json(R"({"rules": [{"reply": "The first word."}]})").value();
  const ProviderServer server(options);
  Program chat({"chat", "--base-url", server.base_url(), "Are you there?"});
  REQUIRE(chat.printed("Please go on."));
  chat.signal(SIGINT);
  const Ended ended = chat.wait();
  CHECK(ended.code == 130);
  CHECK(has(ended.out, "The first word."));
  CHECK(has(ended.out, "stopped: cancelled"));
  CHECK(has(ended.out, "1 calls"));
}

TEST_CASE("--timeout ends a chat that waits") {
  const ProviderServer server(with_fault(FaultKind::stall));
  const Ended ended = run({"chat", "--base-url", server.base_url(), "--timeout", "0.2", "Hello."});
  CHECK(has(ended.out, "stopped: deadline"));
}

TEST_CASE("moderato provider says where it listens and ends on a signal with its counts") {
  Program provider({"provider"});
  REQUIRE(provider.printed("stats at "));
  provider.signal(SIGTERM);
  const Ended ended = provider.wait();
  CHECK(ended.code == 0);
  CHECK(has(ended.out, "listening on http://127.0.0.1:"));
  CHECK(has(ended.out, "\"requests\""));
}

TEST_CASE("a port that is taken is an error that names it") {
  const ProviderServer server;
  const std::string port = std::to_string(server.port());
  const Ended ended = run({"provider", "--port", port});
  CHECK(ended.code == 1);
  CHECK(has(ended.err, port));
}
