#include <doctest/doctest.h>

#include <chrono>
#include <moderato/core/simulation.hpp>

#include "llm/http/http_exchange.hpp"
#include "support/tls_server.hpp"

namespace moderato {
namespace {

using namespace std::chrono_literals;
using namespace moderato::test;

TEST_CASE("a wrong URL is a configuration error that says what is wrong") {
  Runtime runtime;
  const auto error = [&](std::string url) {
    const HttpOutcome outcome = exchange(runtime, {.url = std::move(url)});
    REQUIRE(!outcome.result);
    CHECK(outcome.result.error().code == ErrorCode::configuration);
    CHECK(outcome.reached == Reached::nothing);
    return outcome.result.error().message;
  };
  CHECK(error("") == "the URL is empty");
  CHECK(contains(error("api.example.com/v1"), "http:// or https://"));
  CHECK(contains(error("ftp://example.com/"), "\"ftp\""));
  CHECK(contains(error("file:///etc/passwd"), "only http and https"));
  CHECK(contains(error("http://exam ple.com/"), "space"));
  CHECK(contains(error("http://example.com/\r\nX: y"), "control character"));
  CHECK(contains(error("http://"), "bad URL"));
  CHECK(contains(error("http://example.com:99999/"), "ort"));
  const std::string with_user = error("https://user:s3cret@example.com/v1");
  CHECK(contains(with_user, "user name or a password"));
  CHECK(!contains(with_user, "s3cret"));
  CHECK(!contains(error("htp://example.com/?key=s3cret"), "s3cret"));
}

TEST_CASE("a header that would end the line is refused, and its value is not shown") {
  Runtime runtime;
  const HttpOutcome outcome =
      exchange(runtime, {.url = "http://127.0.0.1:1/", .headers = {{"Authorization", "s3cret\n"}}});
  CHECK(code_of(outcome) == ErrorCode::configuration);
  CHECK(contains(text_of(outcome), "Authorization"));
  CHECK(!contains(text_of(outcome), "s3cret"));
  CHECK(code_of(exchange(runtime, {.url = "http://127.0.0.1:1/", .headers = {{"A b", "1"}}})) ==
        ErrorCode::configuration);
  CHECK(code_of(exchange(runtime, {.method = "GET /", .url = "http://127.0.0.1:1/"})) ==
        ErrorCode::configuration);
}

TEST_CASE("a host that refuses, and one that does not exist, are connection errors") {
  Runtime runtime;
  const HttpOutcome refused = exchange(
      runtime, {.url = "http://127.0.0.1:" + std::to_string(closed_port()) + "/v1?key=s3cret"});
  CHECK(code_of(refused) == ErrorCode::connection);
  CHECK(refused.reached == Reached::nothing);
  CHECK(!contains(text_of(refused), "s3cret"));
  const HttpOutcome unknown = exchange(runtime, {.url = "http://no-such-host.invalid/"});
  CHECK(code_of(unknown) == ErrorCode::connection);
  CHECK(contains(text_of(unknown), "no-such-host.invalid"));
}

TEST_CASE("a Simulation has no sockets, and says so") {
  Simulation world;
  const HttpOutcome outcome =
      world.block_on([] { return send_http({.url = "http://127.0.0.1:1/"}); });
  CHECK(code_of(outcome) == ErrorCode::configuration);
  CHECK(contains(text_of(outcome), "Simulation"));
}

TEST_CASE("a body that is cut off is a connection error that keeps the status") {
  ScriptedServer server([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write(
        "HTTP/1.1 200 OK\r\nX-Request-Id: r-9\r\nContent-Length: 100\r\n\r\n{\"half\":");
  });
  Runtime runtime;
  const HttpOutcome outcome = exchange(runtime, {.url = server.url()});
  CHECK(code_of(outcome) == ErrorCode::connection);
  CHECK(outcome.reached == Reached::answered);
  CHECK(outcome.response.status == 200);
  CHECK(outcome.response.headers.find("x-request-id") == "r-9");
}

TEST_CASE("a stream that is cut off gives what came, and then the error") {
  ScriptedServer server([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    connection.reset_at_end();
  });
  Runtime runtime;
  std::string seen;
  const HttpOutcome outcome = exchange(
      runtime, {.url = server.url(), .on_data = [&](std::string_view piece) -> Result<void> {
                  seen += piece;
                  return {};
                }});
  CHECK(code_of(outcome) == ErrorCode::connection);
  CHECK((seen == "one" || seen.empty()));  // A reset may overtake what was sent before it.
}

TEST_CASE("a reset before the answer is a connection error after sending") {
  ScriptedServer server([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.reset_at_end();
  });
  Runtime runtime;
  const HttpOutcome outcome = exchange(runtime, {.url = server.url(), .body = "paid for"});
  CHECK(code_of(outcome) == ErrorCode::connection);
  CHECK(outcome.reached == Reached::sent);
}

TEST_CASE("an answer that is not HTTP is a protocol error") {
  ScriptedServer server([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write("SSH-2.0-OpenSSH_9.2\r\n");
  });
  Runtime runtime;
  CHECK(code_of(exchange(runtime, {.url = server.url()})) == ErrorCode::protocol);
}

TEST_CASE("a request whose kept connection breaks is not sent a second time") {
  // The server takes the second request of the first connection and dies: libcurl by itself would
  // send it again.
  ScriptedServer server([](ServerConnection& connection) {
    if (!connection.read_request()) return;
    connection.answer("first");
    if (connection.number() == 0) {
      (void)connection.read_request();
      return;
    }
  });
  Runtime runtime;
  CHECK(exchange(runtime, {.url = server.url(), .body = "1"}).result);
  const HttpOutcome broken = exchange(runtime, {.url = server.url(), .body = "2"});
  CHECK(code_of(broken) == ErrorCode::connection);
  CHECK(broken.reached == Reached::sent);
  CHECK(server.requests() == 2);
  CHECK(exchange(runtime, {.url = server.url(), .body = "3"}).result);
  CHECK(server.requests() == 3);
}

TEST_CASE("kept connections that the server closed are replaced before anything is sent") {
  constexpr std::size_t count = 5;
  Signal close_them;
  ScriptedServer* here = nullptr;
  Signal all_there;
  ScriptedServer server([&](ServerConnection& connection) {
    while (connection.read_request()) {
      if (here->requests() >= static_cast<int>(count)) all_there.set();
      if (!connection.wait(all_there)) return;
      connection.answer("ok", "200 OK");
      if (connection.number() < static_cast<int>(count)) {
        connection.wait(close_them);
        return;  // closes while the client keeps the connection
      }
    }
  });
  here = &server;
  Runtime runtime;
  const std::vector<int> numbers(count);
  const auto all = [&] {
    return runtime.parallel(numbers, {.max_in_flight = count}, [&](int) {
      const HttpOutcome outcome = send_http({.url = server.url(), .body = "paid for"});
      return outcome.result.has_value();
    });
  };
  CHECK(all() == std::vector<bool>(count, true));
  CHECK(server.connections() == count);
  close_them.set();
  while (server.open_connections() > 0) std::this_thread::yield();
  CHECK(all() == std::vector<bool>(count, true));
  CHECK(server.requests() == 2 * count);
}

TEST_CASE(
    "a kept connection that the server closes is closed here, too, without a further request") {
  Signal closed;
  ScriptedServer server([&](ServerConnection& connection) {
    (void)connection.read_request();
    connection.answer("ok");
    connection.close_write_side();
    if (connection.wait_for_close()) closed.set();
  });
  Runtime runtime;
  CHECK(exchange(runtime, {.url = server.url()}).result);
  closed.wait();
  CHECK(exchange(runtime, {.url = server.url()}).result);
  CHECK(server.requests() == 2);
}

TEST_CASE("a redirect is an error that names the host, and no key goes there") {
  ScriptedServer other(always("stolen"));
  ScriptedServer server([&](ServerConnection& connection) {
    while (connection.read_request()) {
      connection.answer(
          "", "307 Temporary Redirect",
          "Location: http://u:p@127.0.0.1:" + std::to_string(other.port()) + "/x\r\n");
    }
  });
  Runtime runtime;
  for (const char* method : {"POST", "GET"}) {
    const HttpOutcome outcome = exchange(
        runtime,
        {.method = method, .url = server.url(), .headers = {{"Authorization", "Bearer k"}}});
    CHECK(code_of(outcome) == ErrorCode::configuration);
    CHECK(contains(text_of(outcome), "127.0.0.1:" + std::to_string(other.port())));
    CHECK(!contains(text_of(outcome), "u:p"));
    CHECK(outcome.result.error().http_status == 307);
  }
  CHECK(other.connections() == 0);
}

TEST_CASE("a certificate that nobody vouches for is refused, and accepted with its CA file") {
  TlsServer tls(always("secret"));
  Runtime runtime;
  const HttpOutcome refused =
      exchange(runtime, {.url = tls.server.url(), .headers = {{"Authorization", "Bearer k"}}});
  CHECK(code_of(refused) == ErrorCode::tls);
  CHECK(refused.reached == Reached::nothing);
  CHECK(tls.server.requests() == 0);
  HttpRequest trusting{.url = tls.server.url(), .ca_file = tls.certificate.ca_file()};
  CHECK(exchange(runtime, trusting).response.body == "secret");
  CHECK(exchange(runtime, trusting).response.body == "secret");
  CHECK(tls.server.requests() == 2);
  CHECK(tls.server.connections() == 2);
}

TEST_CASE("a certificate for another name is refused") {
  TlsServer tls(always("secret"));
  Runtime runtime;
  const HttpOutcome outcome =
      exchange(runtime, {.url = "https://localhost:" + std::to_string(tls.server.port()) + "/",
                         .ca_file = tls.certificate.ca_file()});
  CHECK(code_of(outcome) == ErrorCode::tls);
}

TEST_CASE("TLS asked of a server that does not speak it, and a missing CA file") {
  ScriptedServer plain(
      [](ServerConnection& connection) { connection.write("HTTP/1.1 400 Bad\r\n\r\n"); });
  Runtime runtime;
  CHECK(code_of(exchange(runtime, {.url = "https://127.0.0.1:" + std::to_string(plain.port())})) ==
        ErrorCode::tls);
  TlsServer tls(always("secret"));
  CHECK(code_of(exchange(runtime, {.url = tls.server.url(), .ca_file = "/no/such/file.pem"})) ==
        ErrorCode::configuration);
}

TEST_CASE("a kept TLS connection that the server closed is replaced") {
  Signal close_it;
  TlsServer tls([&](ServerConnection& connection) {
    while (connection.read_request()) {
      connection.answer("ok");
      if (connection.number() == 0) {
        connection.wait(close_it);
        return;
      }
    }
  });
  Runtime runtime({.threads = 0});
  const HttpRequest request{.url = tls.server.url(), .ca_file = tls.certificate.ca_file()};
  CHECK(exchange(runtime, request).result);
  close_it.set();
  while (tls.server.open_connections() > 0) std::this_thread::yield();
  while (runtime.poll()) {  // the loop hears of it
  }
  const auto second = exchange(runtime, request).result;
  CHECK_MESSAGE(second, (second ? "" : to_string(second.error())));
  CHECK(tls.server.requests() == 2);
}

TEST_CASE("a handshake that breaks is a connection error, not a refused certificate") {
  ScriptedServer server([](ServerConnection& connection) { connection.reset_at_end(); });
  Runtime runtime;
  CHECK(code_of(exchange(runtime, {.url = "https://127.0.0.1:" + std::to_string(server.port())})) ==
        ErrorCode::connection);
}

TEST_CASE("the password of a proxy that cannot be used is in no error text") {
  Runtime runtime;
  for (const std::string proxy :
       {"http://user:pa55word@host:port", "http://user:pa55word@ho st:1", "ftp://u:pa55word@host:1",
        "http://u:pa55word@[::1", "nonsense://u:pa55word@host", "http://u:pa55word@127.0.0.1:1",
        "http://u:pa55word@no-such-host.invalid:1", "socks5h://u:pa55word@127.0.0.1:1"}) {
    CAPTURE(proxy);
    const HttpOutcome outcome = exchange(runtime, {.url = "http://provider.test/", .proxy = proxy});
    REQUIRE_FALSE(outcome.result);
    CHECK_FALSE(contains(text_of(outcome), "pa55word"));
  }
  CHECK(code_of(exchange(runtime, {.url = "http://provider.test/", .proxy = "ftp://host:1"})) ==
        ErrorCode::configuration);
}

}  // namespace
}  // namespace moderato
