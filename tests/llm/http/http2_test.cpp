#include <doctest/doctest.h>

#include <atomic>
#include <vector>

#include "llm/http/http_exchange.hpp"
#include "support/http2_server.hpp"

namespace moderato {
namespace {

using namespace test;

TEST_CASE("where a server offers HTTP/2 it is spoken, and exchanges share one connection") {
  constexpr std::size_t at_once = 8;
  TlsServer tls(
      [](ServerConnection& connection) {
        Http2Connection http2(connection);
        std::vector<std::uint32_t> streams;
        http2.serve([&](std::uint32_t stream) {
          streams.push_back(stream);
          if (streams.size() < at_once) return;
          for (const std::uint32_t waiting : streams) http2.answer(waiting, "by stream");
        });
      },
      "h2");
  Runtime runtime;
  std::atomic<std::size_t> good{0};
  runtime.block_on([&] {
    std::vector<Task<void>> tasks;
    for (std::size_t i = 0; i < at_once; ++i) {
      tasks.push_back(runtime.spawn([&] {
        const HttpOutcome outcome = send_http(
            {.url = tls.server.url(), .body = "{}", .ca_file = tls.certificate.ca_file()});
        if (outcome.result && outcome.response.body == "by stream") ++good;
      }));
    }
    for (auto& task : tasks) task.join();
  });
  CHECK(good == at_once);
  CHECK(tls.server.connections() == 1);
}

TEST_CASE("an HTTP/2 stream that is reset is a connection error, and the connection goes on") {
  TlsServer tls(
      [](ServerConnection& connection) {
        Http2Connection http2(connection);
        http2.serve([&](std::uint32_t stream) {
          stream == 1 ? http2.reset(stream, 2) : http2.answer(stream, "again");
        });
      },
      "h2");
  Runtime runtime;
  const HttpRequest request{
      .url = tls.server.url(), .body = "{}", .ca_file = tls.certificate.ca_file()};
  const HttpOutcome broken = exchange(runtime, request);
  CHECK(code_of(broken) == ErrorCode::connection);
  CHECK(contains(text_of(broken), "INTERNAL_ERROR"));
  CHECK(broken.reached == Reached::sent);
  CHECK(exchange(runtime, request).response.body == "again");
  CHECK(tls.server.connections() == 1);
}

TEST_CASE("a stream that the server refused is not sent again behind the caller's back") {
  std::atomic<int> requests{0};
  TlsServer tls(
      [&](ServerConnection& connection) {
        Http2Connection http2(connection);
        http2.serve([&](std::uint32_t stream) {
          ++requests;
          http2.reset(stream, 7);
        });
      },
      "h2");
  Runtime runtime;
  const HttpOutcome outcome = exchange(
      runtime, {.url = tls.server.url(), .body = "{}", .ca_file = tls.certificate.ca_file()});
  CHECK(code_of(outcome) == ErrorCode::connection);
  CHECK(requests == 1);
}

}  // namespace
}  // namespace moderato
