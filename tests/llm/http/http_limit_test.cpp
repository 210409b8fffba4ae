#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>

#include <moderato/llm/http/curl_handle.hpp>
#include <thread>

#include "llm/http/http_exchange.hpp"

namespace moderato {
namespace {

using namespace std::chrono_literals;
using namespace moderato::test;

/// A port that accepts no connection: its queue of one is taken.
class FullListener {
 public:
  FullListener() : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    bind(listener_, generic, size);
    listen(listener_, 0);
    getsockname(listener_, generic, &size);
    port_ = ntohs(address.sin_port);
    for (int& client : clients_) {
      client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      (void)connect(client, generic, size);
    }
  }
  ~FullListener() {
    for (const int client : clients_) close(client);
    close(listener_);
  }
  [[nodiscard]] int port() const { return port_; }

 private:
  int listener_;
  int port_ = 0;
  std::array<int, 4> clients_{};
};

/// Reads a request, sends `bytes`, and is silent until the peer gives up; then sets `closed`.
ScriptedServer::Script silent_after(std::string bytes, Signal& closed) {
  return [bytes = std::move(bytes), &closed](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write(bytes);
    if (connection.wait_for_close()) closed.set();
  };
}

TEST_CASE("connect: a host that does not take the connection") {
  FullListener host;
  Runtime runtime;
  const HttpOutcome outcome =
      exchange(runtime, {.url = "http://127.0.0.1:" + std::to_string(host.port()) + "/",
                         .limits = {.connect = 50ms}});
  CHECK(code_of(outcome) == ErrorCode::timeout);
  CHECK(outcome.reached == Reached::nothing);
  CHECK(contains(text_of(outcome), "0.05 s"));
}

TEST_CASE("first_byte: a server that takes the request and says nothing") {
  Signal closed;
  ScriptedServer server(silent_after("", closed));
  Runtime runtime;
  const HttpOutcome outcome =
      exchange(runtime, {.url = server.url(), .limits = {.first_byte = 50ms, .silence = 1ms}});
  CHECK(code_of(outcome) == ErrorCode::timeout);
  CHECK(contains(text_of(outcome), "first_byte"));
  CHECK(outcome.reached == Reached::sent);
  closed.wait();
}

TEST_CASE("silence: a server that stops in the middle of its answer") {
  Signal closed;
  ScriptedServer server(silent_after("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", closed));
  Runtime runtime;
  const HttpOutcome outcome = exchange(runtime, {.url = server.url(), .limits = {.silence = 50ms}});
  CHECK(code_of(outcome) == ErrorCode::timeout);
  CHECK(contains(text_of(outcome), "silence"));
  CHECK(outcome.reached == Reached::answered);
  CHECK(outcome.response.status == 200);
  CHECK(outcome.response.body == "half");
  closed.wait();
}

TEST_CASE("silence does not end an answer that keeps coming, total does") {
  Signal closed;
  ScriptedServer server([&](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (connection.write("1\r\nx\r\n")) {
    }
    closed.set();
  });
  Runtime runtime;
  const HttpOutcome outcome =
      exchange(runtime, {.url = server.url(),
                         .limits = {.silence = 60ms, .total = 150ms},
                         .on_data = [](std::string_view) -> Result<void> { return {}; }});
  CHECK(code_of(outcome) == ErrorCode::timeout);
  CHECK(contains(text_of(outcome), "total"));
  CHECK(outcome.response.timings.total >= 150ms);
  closed.wait();
}

TEST_CASE("the caller's deadline ends the exchange, and has a name of its own") {
  Signal closed;
  ScriptedServer server(silent_after("", closed));
  Runtime runtime;
  HttpRequest request{.url = server.url()};
  request.deadline = runtime.clock().now() + 50ms;
  CHECK(code_of(exchange(runtime, request)) == ErrorCode::deadline_exceeded);
  closed.wait();
}

TEST_CASE("a limit of 0 is no limit") {
  ScriptedServer server(always("ok"));
  Runtime runtime;
  CHECK(exchange(runtime, {.url = server.url(),
                           .limits = {.connect = 0s, .first_byte = 0s, .silence = 0s, .total = 0s}})
            .result);
}

TEST_CASE("a stop token, or the fiber's cancellation, closes the connection at once") {
  Signal asked;
  Signal closed;
  ScriptedServer server([&](ServerConnection& connection) {
    (void)connection.read_request();
    asked.set();
    if (connection.wait_for_close()) closed.set();
  });
  Runtime runtime;
  std::stop_source stop;
  auto task =
      runtime.spawn([&] { return send_http({.url = server.url(), .stop = stop.get_token()}); });
  asked.wait();
  SUBCASE("a stop token") {
    stop.request_stop();
  }
  SUBCASE("the fiber's cancellation") {
    task.cancel();
  }
  const HttpOutcome outcome = task.join();
  CHECK(code_of(outcome) == ErrorCode::cancelled);
  CHECK(outcome.reached == Reached::sent);
  closed.wait();
}

TEST_CASE("a request that was cancelled before it began sends nothing") {
  ScriptedServer server(always("ok"));
  Runtime runtime;
  std::stop_source stop;
  stop.request_stop();
  const HttpOutcome outcome = exchange(runtime, {.url = server.url(), .stop = stop.get_token()});
  CHECK(code_of(outcome) == ErrorCode::cancelled);
  CHECK(outcome.reached == Reached::nothing);
  CHECK(server.requests() == 0);
}

TEST_CASE("the end of a runtime ends its exchanges") {
  Signal asked;
  Signal closed;
  ScriptedServer server([&](ServerConnection& connection) {
    (void)connection.read_request();
    asked.set();
    if (connection.wait_for_close()) closed.set();
  });
  HttpOutcome outcome;
  {
    Runtime runtime;
    runtime.spawn([&] { outcome = send_http({.url = server.url()}); });
    asked.wait();
  }
  CHECK(code_of(outcome) == ErrorCode::cancelled);
  closed.wait();
}

TEST_CASE("a body above the limit is refused by its length, before it is read") {
  Signal closed;
  ScriptedServer server(
      silent_after("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\nbegin", closed));
  Runtime runtime;
  const HttpOutcome outcome = exchange(runtime, {.url = server.url()});
  CHECK(code_of(outcome) == ErrorCode::too_large);
  CHECK(contains(text_of(outcome), "33554432 bytes"));
  CHECK(outcome.response.body.size() <= 5);
  closed.wait();
}

TEST_CASE("a body above the limit that does not say its length is cut at the limit") {
  ScriptedServer server([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\n\r\n");
    const std::string piece(100'000, 'x');
    while (connection.write(piece)) {
    }
  });
  Runtime runtime;
  const HttpOutcome outcome =
      exchange(runtime, {.url = server.url(), .limits = {.max_response_bytes = 1'000'000}});
  CHECK(code_of(outcome) == ErrorCode::too_large);
  CHECK(outcome.response.body.size() <= 1'000'000);
}

TEST_CASE("headers without end are refused") {
  ScriptedServer server([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\n");
    while (connection.write("X-Filler: " + std::string(1000, 'x') + "\r\n")) {
    }
  });
  Runtime runtime;
  CHECK(code_of(exchange(runtime, {.url = server.url()})) == ErrorCode::too_large);
}

TEST_CASE(
    "silence: bytes that lie in the socket while something else holds the loop are no silence") {
  Signal go_on;
  Signal sent;
  ScriptedServer server([&](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    connection.wait(go_on);
    connection.write("half");
    sent.set();
    connection.wait_for_close();
  });
  Runtime runtime;
  HttpRequest request{.url = server.url(), .limits = {.silence = 20ms}};
  std::string got;
  Task<void> hog;
  request.on_data = [&](std::string_view piece) -> Result<void> {
    got += piece;
    if (hog.valid()) return {};
    hog = runtime.spawn([&] {
      const Instant until = runtime.clock().now() + 40ms;
      go_on.set();
      sent.wait();
      while (runtime.clock().now() < until) std::this_thread::yield();
    });
    return {};
  };
  const HttpOutcome outcome = exchange(runtime, request);
  CHECK(text_of(outcome) == "");
  CHECK(got == "halfhalf");
  hog.join();
}

TEST_CASE("connect: a limit of 0 is none, also for libcurl") {
  CHECK(connect_timeout_ms(0s) > std::chrono::milliseconds(24h).count());
  CHECK(connect_timeout_ms(50ms) == 100);
}

}  // namespace
}  // namespace moderato
