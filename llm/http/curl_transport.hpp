#pragma once

// Private header of the library: not installed.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/loop.hpp>
#include <moderato/llm/http/curl_pump.hpp>
#include <moderato/llm/http/http_client.hpp>

namespace moderato {

/// The HTTP of one loop: `Loop::current()->service<CurlTransport>()`. Keeps handles and
/// connections. Loop's thread only.
class CurlTransport {
 public:
  explicit CurlTransport(Loop& loop);
  ~CurlTransport();
  CurlTransport(const CurlTransport&) = delete;
  CurlTransport& operator=(const CurlTransport&) = delete;

  /// See send_http. On a fiber of the loop.
  [[nodiscard]] HttpOutcome send(const HttpRequest& request);
  void shutdown() noexcept;

 private:
  [[nodiscard]] ConnectGate& gate_of(std::string_view url);
  [[nodiscard]] CurlHandle& take_handle();
  void give_back(CurlHandle& handle) noexcept;
  [[nodiscard]] Result<void> exchange(CurlHandle& handle, CurlTransfer& transfer);

  const Clock& clock_;
  std::unique_ptr<CurlPump> pump_;
  std::vector<std::unique_ptr<CurlHandle>> handles_;
  std::vector<CurlHandle*> free_;                          // last in, first out
  std::map<std::string, ConnectGate, std::less<>> gates_;  // by origin
};

}  // namespace moderato
