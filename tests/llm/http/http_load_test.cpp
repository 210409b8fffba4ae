#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "llm/http/http_exchange.hpp"
#include "support/load_server.hpp"
#include "support/sanitizers.hpp"

namespace moderato {
namespace {

using namespace test;

/// What the limit of open files allows, of `wanted` connections.
std::size_t connections_allowed(std::size_t wanted) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  return std::min<std::size_t>(wanted, limit.rlim_cur - 200);
}

TEST_CASE("10,000 exchanges are under way at once, and every one gets its answer") {
  const std::size_t wanted = thread_sanitizer ? 500 : address_sanitizer ? 2'000 : 10'000;
  const std::size_t count = connections_allowed(wanted);
  // The server answers nobody before all have asked.
  const LoadServer server({.body = R"({"ok":true})", .answer_when_waiting = count});
  Runtime runtime({.threads = 0});
  std::size_t good = 0;
  runtime.block_on([&] {
    std::vector<Task<void>> tasks;
    for (std::size_t i = 0; i < count; ++i) {
      tasks.push_back(runtime.spawn([&] {
        const HttpOutcome outcome = send_http(
            {.url = server.url(), .body = "{}", .limits = {.connect = std::chrono::minutes(2)}});
        if (outcome.result && outcome.response.body == R"({"ok":true})") ++good;
      }));
    }
    for (auto& task : tasks) task.join();
  });
  CHECK(good == count);
}

TEST_CASE("an answer of 50 MB arrives whole where it is allowed") {
  const std::string piece(1'000'000, 'x');
  ScriptedServer server([&](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n");
    for (int i = 0; i < 50 && connection.write(piece); ++i) {
    }
  });
  Runtime runtime;
  const HttpOutcome whole = exchange(
      runtime, {.url = server.url(), .limits = {.max_response_bytes = 64UL * 1024 * 1024}});
  REQUIRE(whole.result);
  CHECK(whole.response.body.size() == 50'000'000);
  // As a stream it is never all in memory, so it needs the same room in the limit only.
  std::size_t streamed = 0;
  const HttpOutcome pieces =
      exchange(runtime, {.url = server.url(),
                         .limits = {.max_response_bytes = 64UL * 1024 * 1024},
                         .on_data = [&](std::string_view part) -> Result<void> {
                           streamed += part.size();
                           return {};
                         }});
  CHECK(pieces.result);
  CHECK(streamed == 50'000'000);
  CHECK(pieces.response.body.empty());
}

}  // namespace
}  // namespace moderato
