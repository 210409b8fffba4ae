#pragma once

// Private header of the library: not installed.

#include <curl/curl.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/llm/http/curl_transfer.hpp>

namespace moderato {

class CurlPump;

/// libcurl copies it for each transfer, so handles share it.
using ParsedUrl = std::shared_ptr<CURLU>;

/// Takes the URL apart, and checks that libcurl can be asked for it and that doing so is safe; a
/// configuration error says what is wrong with it.
[[nodiscard]] Result<ParsedUrl> parse_url(const std::string& url);

/// The same for a proxy (empty and "environment" are fine). The text does not show it: it may carry
/// a password.
[[nodiscard]] Result<void> check_proxy(const std::string& proxy);

/// What libcurl is told for a limit on connecting: to libcurl 0 means 300 s, not "none".
[[nodiscard]] long connect_timeout_ms(Duration limit) noexcept;

/// One libcurl easy handle, and what it has been set up for: the next exchange sets only what
/// differs. Bound to one multi handle (a shard of the pump) for its life. Loop's thread only.
class CurlHandle {
 public:
  CurlHandle(CurlPump& pump, std::size_t shard, CURLSH* shared);
  ~CurlHandle();
  CurlHandle(const CurlHandle&) = delete;
  CurlHandle& operator=(const CurlHandle&) = delete;

  /// Makes the handle ready for the transfer, which stays with it until clear().
  [[nodiscard]] Result<void> prepare(CurlTransfer& transfer);
  void clear() noexcept { transfer_ = nullptr; }
  /// The next attempt takes no kept connection (true), or any (false).
  void use_fresh_connection(bool fresh) noexcept;

  /// In its multi handle, from the start to the end of a transfer; kept by the pump.
  bool running = false;

  [[nodiscard]] CURL* easy() const noexcept { return easy_; }
  [[nodiscard]] std::size_t shard() const noexcept { return shard_; }
  [[nodiscard]] CurlTransfer* transfer() const noexcept { return transfer_; }
  [[nodiscard]] const char* error_text() const noexcept { return error_text_.data(); }

 private:
  struct FreeList {
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
  };

  void set_constants(CURLSH* shared);
  [[nodiscard]] Result<void> set_headers(const std::vector<HttpHeader>& headers);
  [[nodiscard]] Result<void> set_url(const std::string& url);
  void set_body(const HttpRequest& request);

  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* handle);
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* handle);
  static int on_connection(void* handle, char* peer_ip, char* local_ip, int peer_port,
                           int local_port);
  static curl_socket_t on_open_socket(void* handle, curlsocktype purpose, curl_sockaddr* address);

  CurlPump& pump_;
  const std::size_t shard_;
  CURL* easy_;
  CurlTransfer* transfer_ = nullptr;
  std::array<char, CURL_ERROR_SIZE> error_text_{};

  std::string url_;
  ParsedUrl parsed_url_;
  std::string method_;
  std::string ca_file_;
  std::string proxy_ = "?";     // not set yet
  Duration connect_limit_{-1};  // not set yet
  std::size_t max_response_bytes_ = 0;
  bool fresh_connection_ = false;
  std::vector<HttpHeader> headers_;
  std::unique_ptr<curl_slist, FreeList> header_list_;
};

}  // namespace moderato
