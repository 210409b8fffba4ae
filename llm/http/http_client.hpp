#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moderato/core/result.hpp>
#include <moderato/core/time.hpp>
#include <moderato/llm/reached.hpp>

namespace moderato {

/// A header of a request.
struct HttpHeader {
  std::string name;
  std::string value;  ///< May be a secret: it appears in no error text.
  bool operator==(const HttpHeader&) const = default;
};

/// The headers of a response, kept as they came: one text, searched when somebody asks.
class HttpHeaders {
 public:
  /// Takes "Name: value", with or without the line end. Lines without a colon are ignored.
  void add_line(std::string_view line);
  void clear() noexcept { block_.clear(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return block_.size(); }

  /// Value of the first header of that name (ASCII case is ignored); valid while this object is
  /// unchanged.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept;
  /// Calls f(name, value) for each header in order.
  template <class F>
  void for_each(F&& f) const {
    for (std::size_t at = 0; at < block_.size();) {
      const auto [name, value, next] = header_at(at);
      f(name, value);
      at = next;
    }
  }

 private:
  struct Line {
    std::string_view name;
    std::string_view value;
    std::size_t next;
  };
  [[nodiscard]] Line header_at(std::size_t at) const noexcept;

  std::string block_;  // "name:value\n" each
};

/// Bounds of one exchange. A Duration of 0 means: no limit.
struct HttpLimits {
  /// Until the request can be sent: name look-up, TCP, proxy, TLS, waiting for a connection.
  Duration connect = std::chrono::seconds(10);
  /// From then until the first byte of the answer; sending the body counts.
  Duration first_byte = std::chrono::seconds(300);
  /// Between two pieces of the answer.
  Duration silence = std::chrono::seconds(60);
  /// The whole exchange.
  Duration total = std::chrono::seconds(600);
  /// Body of the answer, decoded. More is too_large, and the rest is not read.
  std::size_t max_response_bytes = 32UL * 1024 * 1024;
};

/// When things happened, counted from the call of send_http; nullopt: not reached.
struct HttpTimings {
  std::optional<Duration> connected{};   ///< The connection was ready (0 s or so when kept alive).
  std::optional<Duration> first_byte{};  ///< The first header of the answer was there.
  Duration total{};
};

struct HttpResponse {
  int status = 0;  ///< 0: none came.
  HttpHeaders headers{};
  std::string body{};  ///< Empty where on_data took it.
  HttpTimings timings{};
};

/// For HttpRequest::proxy: the only way in which the environment is looked at.
inline constexpr std::string_view proxy_of_environment = "environment";

struct HttpRequest {
  std::string method = "POST";  ///< POST sends `body`, GET does not; others are sent as they are.
  std::string url{};            ///< http or https, without user name and password.
  std::vector<HttpHeader> headers{};
  std::string body{};
  HttpLimits limits{};
  /// The exchange ends as deadline_exceeded at this instant of the runtime's clock.
  Instant deadline = no_deadline;
  std::stop_token stop{};
  /// Certificates to trust, a PEM file; empty: the system's. Certificates are always verified.
  std::string ca_file{};
  /// "http://host:port" or "socks5h://…"; empty: none; proxy_of_environment: as libcurl finds it
  /// (http_proxy, HTTPS_PROXY, ALL_PROXY, NO_PROXY).
  std::string proxy{};

  // Both are called on the fiber that sends, so they may wait; while they do, at most some 256 KiB
  // are kept and the peer is held back. What they throw ends the exchange as ErrorCode::internal.

  /// Called once when status and headers are there, before any data; may be empty.
  std::function<void(const HttpResponse&)> on_headers{};
  /// Takes the body of a 2xx answer piece by piece (any other body is kept in the response); may be
  /// empty. An error ends the exchange with that error.
  std::function<Result<void>(std::string_view)> on_data{};
};

/// What came of an exchange. After a failure `response` has what had come by then.
struct HttpOutcome {
  /// Any status but 3xx is a success of the transport. Errors:
  /// - configuration: the URL, a header or the CA file is wrong; a redirect (3xx), which is never
  ///   followed, so that no key goes to another host: the text names where it leads; no sockets
  ///   (a simulation);
  /// - connection: no connection, or it broke, or an HTTP/2 stream was reset;
  /// - tls: the certificate or the handshake was refused;
  /// - timeout: one of HttpLimits, which the text names; deadline_exceeded; cancelled;
  /// - too_large: the body, or more than 256 KiB of headers; protocol: not HTTP;
  /// - internal: a callback threw.
  /// No text contains a header's value, or the query of the URL.
  Result<void> result{};
  HttpResponse response{};
  Reached reached = Reached::nothing;
};

/// Sends one request, once, and waits for the answer on the current fiber (anywhere else it is an
/// internal error). Connections are kept alive and shared by everything on the fiber's loop; HTTP/2
/// is spoken where the server offers it (over TLS). Nothing is ever sent twice: a kept connection
/// that turns out to be dead after bytes of the request left is a `connection` error with
/// Reached::sent. Cancellation closes the exchange at once.
[[nodiscard]] HttpOutcome send_http(const HttpRequest& request);

}  // namespace moderato
