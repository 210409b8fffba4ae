#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "support/tls_server.hpp"

namespace moderato::test {

/// One HTTP/2 connection (RFC 9113), as a script sees it: enough of the protocol to answer and to
/// reset streams. Requests' headers are not decoded.
class Http2Connection {
 public:
  explicit Http2Connection(ServerConnection& connection) : connection_(connection) {}

  /// Calls `on_request` with the stream of each request that has come whole, until the peer goes.
  void serve(const std::function<void(std::uint32_t stream)>& on_request);
  /// Status 200 with that body.
  void answer(std::uint32_t stream, std::string_view body);
  /// RST_STREAM with an error code: 2 is INTERNAL_ERROR, 7 REFUSED_STREAM.
  void reset(std::uint32_t stream, std::uint32_t error_code);

 private:
  void write(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload);

  ServerConnection& connection_;
};

}  // namespace moderato::test
