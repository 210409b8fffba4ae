#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "program.hpp"

namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// A file that is gone at the end of the test.
struct TemporaryFile {
  std::string path = "provider_command_test." + std::to_string(::getpid()) + ".json";
  explicit TemporaryFile(std::string_view text) { std::ofstream(path) << text; }
  ~TemporaryFile() { std::remove(path.c_str()); }
};

}  // namespace

TEST_CASE("--help of provider lists every flag and every kind of fault") {
  const Ended ended = run({"provider", "--help"});
  CHECK(ended.code == 0);
  for (const char* word : {"--port",
                           "--rpm",
                           "--tpm",
                           "--max-in-flight",
                           "--evaluator",
                           "minute-bucket",
                           "minute-counter",
                           "--rejects-charged",
                           "--first-token-ms",
                           "--per-token-ms",
                           "--latency-sigma",
                           "--fault",
                           "stall",
                           "organization-spend-limit",
                           "--script",
                           "--api-key",
                           "--seed",
                           "--no-rate-limit-headers",
                           "--chunks-together",
                           "--itpm",
                           "--otpm",
                           "--foreign-rpm",
                           "--foreign-tpm",
                           "--limit-change",
                           "--outage",
                           "--hint",
                           "--round-headers"}) {
    CAPTURE(word);
    CHECK(has(ended.out, word));
  }
}

TEST_CASE("a wrong flag of provider is explained, and nothing listens") {
  const struct {
    std::vector<std::string> flags;
    const char* explained;
  } cases[] = {
      {{"--rpm", "-1"}, "--rpm"},
      {{"--port", "99999"}, "--port"},
      {{"--evaluator", "hourly"}, "--evaluator"},
      {{"--latency-sigma", "x"}, "--latency-sigma"},
      {{"--fault", "fire:0.1"}, R"(fault "fire:0.1": unknown kind; known are reset, stall)"},
      {{"--fault", "500:2"}, "from 0 to 1"},
      {{"--script", "/nowhere/rules.json"}, "/nowhere/rules.json"},
      {{"--limit-change", "30"}, "--limit-change 30: the form is SECONDS:RPM or SECONDS:RPM:TPM"},
      {{"--limit-change", "x:1"}, "--limit-change x:1"},
      {{"--outage", "1:2:3"}, "--outage 1:2:3: the form is FROM:SECONDS"},
      {{"--hint", "loud"}, "--hint"},
      {{"--nonsense"}, "--nonsense"},
  };
  for (const auto& wrong : cases) {
    std::vector<std::string> arguments{"provider"};
    arguments.insert(arguments.end(), wrong.flags.begin(), wrong.flags.end());
    const Ended ended = run(arguments);
    CAPTURE(wrong.explained);
    CAPTURE(ended.err);
    CHECK(ended.code == 2);
    CHECK(has(ended.err, wrong.explained));
    CHECK(!has(ended.out, "listening"));
  }
}

TEST_CASE("a wrong script file is refused with its place") {
  const TemporaryFile file(R"({"rules": [{"when": {"says": "x"}, "reply": "y"}]})");
  const Ended ended = run({"provider", "--script", file.path});
  CHECK(ended.code == 2);
  CHECK(has(ended.err, file.path + R"(: rules[0].when: unknown member "says")"));
}
