#include <doctest/doctest.h>

#include <csignal>
#include <fstream>
#include <moderato/core/simulation.hpp>
#include <moderato/llm/limiter/backends/shared_host.hpp>
#include <nlohmann/json.hpp>
#include <support/temporary_folder.hpp>

#include "program.hpp"

using namespace moderato;
using moderato::test::TemporaryFolder;

namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("moderato limits shows a quota that another process uses") {
  const TemporaryFolder folder;
  const std::string path = folder / "openai.quota";
  const Limiter limiter = shared_host(path, {.requests_per_minute = 60, .max_in_flight = 3});
  const SteadyClock clock;
  auto permit = Limiter(limiter).acquire({.input_tokens = 10}, {}, clock);
  REQUIRE(permit);
  const Ended table = run({"limits", path});
  CAPTURE(table.err);
  CHECK(table.code == 0);
  CHECK(has(table.out, "state       open"));
  CHECK(has(table.out, "requests"));
  CHECK(has(table.out, "in flight   1 of 3"));
  CHECK(has(table.out, "granted     1"));

  const Ended json = run({"limits", path, "--json"});
  CHECK(json.code == 0);
  const auto read = nlohmann::json::parse(json.out);
  CHECK(read["in_flight"] == 1);
  CHECK(read["limits"][0]["limit"] == 60);
}

TEST_CASE("moderato limits watches until it is interrupted") {
  const TemporaryFolder folder;
  const std::string path = folder / "openai.quota";
  const Limiter limiter = shared_host(path, {.requests_per_minute = 60});
  Program watching({"limits", path, "--watch", "0.1", "--json"});
  CHECK(watching.printed("\"granted\":0"));
  const SteadyClock clock;
  REQUIRE(Limiter(limiter).acquire({.input_tokens = 10}, {}, clock));
  CHECK(watching.printed("\"granted\":1"));
  watching.signal(SIGINT);
  CHECK(watching.wait().code == 130);
}

TEST_CASE("moderato limits says what is wrong with what it was given, and shows no password") {
  const TemporaryFolder folder;
  const Ended absent = run({"limits", folder / "absent.quota"});
  CHECK(absent.code == 1);
  CHECK(has(absent.err, "absent.quota"));
  std::ofstream(folder / "letter.txt") << "Dear Sir or Madam,";
  const Ended letter = run({"limits", folder / "letter.txt"});
  CHECK(letter.code == 1);
  CHECK(has(letter.err, "letter.txt"));
  const Ended redis = run({"limits", "redis://ann:sesame@127.0.0.1:1"});
  CHECK(redis.code == 1);
  CHECK(has(redis.err, "127.0.0.1:1"));
  CHECK_FALSE(has(redis.err, "sesame"));
  CHECK(run({"limits"}).code == 2);
  CHECK(run({"limits", folder / "absent.quota", "--watch", "0"}).code == 2);
}
