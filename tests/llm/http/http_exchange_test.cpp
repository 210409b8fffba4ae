#include <doctest/doctest.h>
#include <stdlib.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/udp.hpp>
#include <chrono>
#include <moderato/core/fiber_await.hpp>
#include <moderato/core/loop.hpp>

#include "llm/http/http_exchange.hpp"

namespace moderato {
namespace {

using namespace std::chrono_literals;
using namespace moderato::test;

TEST_CASE("a request arrives as it was given, and the answer comes back whole") {
  ReceivedRequest received;
  ScriptedServer server([&](ServerConnection& connection) {
    received = *connection.read_request();
    connection.answer("{\"ok\":true}", "201 Created", "X-Request-Id: r-1\r\nX-Empty:\r\n");
  });
  Runtime runtime;
  const HttpOutcome outcome = exchange(
      runtime, {.url = server.url("/v1/chat?x=1"),
                .headers = {{"Content-Type", "application/json"}, {"Authorization", "Bearer k"}},
                .body = "{\"a\":\"b\\u0000\"}"});
  REQUIRE(text_of(outcome) == "");
  CHECK(outcome.reached == Reached::answered);
  CHECK(outcome.response.status == 201);
  CHECK(outcome.response.body == "{\"ok\":true}");
  CHECK(outcome.response.headers.find("x-request-id") == "r-1");
  CHECK(outcome.response.headers.find("X-EMPTY") == "");
  CHECK(!outcome.response.headers.find("x-nothing"));
  CHECK(outcome.response.timings.connected <= outcome.response.timings.first_byte);
  CHECK(outcome.response.timings.first_byte <= outcome.response.timings.total);
  CHECK(received.line() == "POST /v1/chat?x=1 HTTP/1.1");
  CHECK(received.body == "{\"a\":\"b\\u0000\"}");
  CHECK(received.header("content-type") == "application/json");
  CHECK(received.header("authorization") == "Bearer k");
  CHECK(received.header("content-length") == "15");
  CHECK(received.header("expect").empty());
}

TEST_CASE(
    "GET has no body, other methods are sent as they are, and nothing of one stays for the next") {
  std::vector<std::string> lines;
  std::vector<std::string> bodies;
  ScriptedServer server([&](ServerConnection& connection) {
    while (const auto request = connection.read_request()) {
      lines.push_back(request->line() + "|" + request->header("x-one"));
      bodies.push_back(request->body);
      connection.answer("ok");
    }
  });
  Runtime runtime;
  const auto send = [&](std::string method, std::vector<HttpHeader> headers, std::string body) {
    CHECK(exchange(runtime, {.method = std::move(method),
                             .url = server.url("/"),
                             .headers = std::move(headers),
                             .body = std::move(body)})
              .result);
  };
  send("GET", {{"X-One", "1"}}, "");
  send("POST", {}, "a");
  send("DELETE", {{"X-One", ""}}, "");
  send("GET", {}, "");
  send("POST", {}, "");
  CHECK(lines == std::vector<std::string>{"GET / HTTP/1.1|1", "POST / HTTP/1.1|",
                                          "DELETE / HTTP/1.1|", "GET / HTTP/1.1|",
                                          "POST / HTTP/1.1|"});
  CHECK(bodies == std::vector<std::string>{"", "a", "", "", ""});
  CHECK(server.connections() == 1);
}

TEST_CASE("a kept connection is used again, also by another fiber") {
  ScriptedServer server(always("hello"));
  Runtime runtime;
  for (int i = 0; i < 20; ++i) CHECK(exchange(runtime, {.url = server.url()}).result);
  runtime.spawn([&] { CHECK(send_http({.url = server.url("/other")}).result); }).join();
  CHECK(server.requests() == 21);
  CHECK(server.connections() == 1);
}

TEST_CASE("requests that start together run side by side") {
  constexpr int count = 150;  // more than one shard
  Signal all_there;
  ScriptedServer* here = nullptr;
  ScriptedServer server([&](ServerConnection& connection) {
    while (const auto request = connection.read_request()) {
      if (here->requests() == count) all_there.set();
      if (!connection.wait(all_there)) return;
      connection.answer(request->body);
    }
  });
  here = &server;
  Runtime runtime;
  std::vector<int> numbers(count);
  for (int i = 0; i < count; ++i) numbers[static_cast<std::size_t>(i)] = i;
  const auto same = runtime.parallel(numbers, {.max_in_flight = count}, [&](int number) {
    const std::string body = std::to_string(number);
    return send_http({.url = server.url(), .body = body}).response.body == body;
  });
  CHECK(std::count(same.begin(), same.end(), true) == count);
  CHECK(server.connections() == count);
}

TEST_CASE("a body in chunks is put together") {
  ScriptedServer server([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    connection.write("2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n");
  });
  Runtime runtime;
  const HttpOutcome outcome = exchange(runtime, {.url = server.url()});
  REQUIRE(text_of(outcome) == "");
  CHECK(outcome.response.body == "abcde");
  CHECK(!outcome.response.headers.find("x-trailer"));
}

TEST_CASE("a body without a length ends with the connection") {
  ScriptedServer server([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\n\r\nuntil the end");
  });
  Runtime runtime;
  CHECK(exchange(runtime, {.url = server.url()}).response.body == "until the end");
}

TEST_CASE("the headers of 100 and 103 are not those of the answer") {
  ScriptedServer server([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Hint: 1\r\n\r\n");
    connection.answer("late", "404 Not Found");
  });
  Runtime runtime;
  const HttpOutcome outcome = exchange(runtime, {.url = server.url()});
  CHECK(text_of(outcome) == "");
  CHECK(outcome.response.status == 404);
  CHECK(outcome.response.body == "late");
  CHECK(!outcome.response.headers.find("x-hint"));
}

TEST_CASE("a streamed body arrives piece by piece, while the server holds back the rest") {
  Signal first;
  Signal second;
  ScriptedServer server([&](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    if (!connection.wait(first)) return;
    connection.write("3\r\ntwo\r\n");
    if (!connection.wait(second)) return;
    connection.write("0\r\n\r\n");
  });
  Runtime runtime;
  std::vector<std::string> pieces;
  int status = 0;
  const HttpOutcome outcome =
      exchange(runtime, {.url = server.url(),
                         .on_headers = [&](const HttpResponse& head) { status = head.status; },
                         .on_data = [&](std::string_view piece) -> Result<void> {
                           CHECK(status == 200);
                           pieces.emplace_back(piece);
                           (pieces.size() == 1 ? first : second).set();
                           return {};
                         }});
  CHECK(text_of(outcome) == "");
  CHECK(pieces == std::vector<std::string>{"one", "two"});
  CHECK(outcome.response.body.empty());
}

TEST_CASE("the body of a refusal is kept, not streamed") {
  ScriptedServer server(always("{\"error\":1}", "429 Too Many Requests"));
  Runtime runtime;
  bool streamed = false;
  const HttpOutcome outcome =
      exchange(runtime, {.url = server.url(), .on_data = [&](std::string_view) -> Result<void> {
                           streamed = true;
                           return {};
                         }});
  CHECK(text_of(outcome) == "");
  CHECK(outcome.response.status == 429);
  CHECK(outcome.response.body == "{\"error\":1}");
  CHECK(!streamed);
}

TEST_CASE("a slow reader holds the peer back and still gets every byte") {
  const std::string big(4'000'000, 'x');
  ScriptedServer server(always(big));
  Runtime runtime;
  std::size_t total = 0;
  std::size_t largest = 0;
  const HttpOutcome outcome = exchange(
      runtime, {.url = server.url(), .on_data = [&](std::string_view piece) -> Result<void> {
                  total += piece.size();
                  largest = std::max(largest, piece.size());
                  for (int i = 0; i < 20; ++i) yield_fiber();
                  sleep_for(100us);
                  return {};
                }});
  CHECK(text_of(outcome) == "");
  CHECK(total == big.size());
  CHECK(largest <= 300'000);
}

TEST_CASE("an error or an exception of on_data ends the exchange with it") {
  Signal closed;
  ScriptedServer server([&](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
    if (connection.wait_for_close()) closed.set();
  });
  Runtime runtime;
  HttpRequest request{.url = server.url()};
  SUBCASE("an error") {
    request.on_data = [](std::string_view) -> Result<void> {
      return fail(ErrorCode::protocol, "not what I asked for");
    };
    const HttpOutcome outcome = exchange(runtime, request);
    CHECK(code_of(outcome) == ErrorCode::protocol);
    CHECK(text_of(outcome) == "not what I asked for");
    CHECK(outcome.reached == Reached::answered);
  }
  SUBCASE("an exception") {
    request.on_data = [](std::string_view) -> Result<void> { throw std::runtime_error("oops"); };
    const HttpOutcome outcome = exchange(runtime, request);
    REQUIRE(!outcome.result);
    CHECK(outcome.result.error().code == ErrorCode::internal);
    CHECK(contains(text_of(outcome), "oops"));
  }
  closed.wait();
}

TEST_CASE("a proxy is that of the request, or of the environment where the request says so") {
  std::string line;
  ScriptedServer proxy([&](ServerConnection& connection) {
    line = connection.read_request()->line();
    connection.answer("by proxy");
  });
  Runtime runtime;
  SUBCASE("in the environment") {
    setenv("http_proxy", proxy.url("").c_str(), 1);
    CHECK(exchange(runtime, {.url = "http://provider.test/v1", .proxy = "environment"})
              .response.body == "by proxy");
    ScriptedServer direct(always("direct"));
    CHECK(exchange(runtime, {.url = direct.url()}).response.body == "direct");
    unsetenv("http_proxy");
  }
  SUBCASE("in the request") {
    CHECK(exchange(runtime, {.url = "http://provider.test/v1", .proxy = proxy.url("")})
              .response.body == "by proxy");
  }
  CHECK(line == "POST http://provider.test/v1 HTTP/1.1");
}

TEST_CASE("several loops have connections of their own") {
  ScriptedServer server(always("hello"));
  Runtime runtime({.threads = 2});
  const std::vector<int> numbers(40);
  const auto good = runtime.parallel(numbers, {.max_in_flight = 8}, [&](int) {
    return send_http({.url = server.url()}).response.body == "hello";
  });
  CHECK(std::count(good.begin(), good.end(), true) == 40);
}

TEST_CASE("exchanges and sleepers go on beside a fiber that waits for a socket of Asio's") {
  namespace asio = boost::asio;
  ScriptedServer server(always("ok"));
  Runtime runtime;
  runtime.block_on([&] {
    asio::ip::udp::socket silent(Loop::current()->io(), {asio::ip::address_v4::loopback(), 0});
    std::stop_source enough;
    boost::system::error_code error;
    auto waiting = runtime.spawn([&] {
      char byte = 0;
      silent.async_receive(asio::buffer(&byte, 1), use_fiber[error](enough.get_token()));
    });
    for (int i = 0; i < 3; ++i) {
      CHECK(send_http({.url = server.url()}).response.body == "ok");
      CHECK(sleep_for(std::chrono::microseconds(100)) == Wake::timed_out);
    }
    enough.request_stop();
    waiting.join();
    CHECK(error == asio::error::operation_aborted);
  });
}

TEST_CASE("outside a fiber the error says so") {
  CHECK(contains(text_of(send_http({.url = "http://127.0.0.1:1/"})), "outside a fiber"));
}

}  // namespace
}  // namespace moderato
