#pragma once

// Private header of the library: not installed.

#include <curl/curl.h>

#include <cstddef>
#include <string>
#include <string_view>

#include <moderato/core/clock.hpp>
#include <moderato/core/wait.hpp>
#include <moderato/llm/http/connect_gate.hpp>
#include <moderato/llm/http/http_client.hpp>

namespace moderato {

/// One exchange from its start to its end: what came so far, which limit runs, and the fiber that
/// waits. Lives on that fiber's stack. Loop's thread only.
class CurlTransfer {
 public:
  CurlTransfer(const HttpRequest& request, const Clock& clock, ConnectGate& gate);
  CurlTransfer(const CurlTransfer&) = delete;
  CurlTransfer& operator=(const CurlTransfer&) = delete;

  [[nodiscard]] const HttpRequest& request() const noexcept { return request_; }

  // --- What libcurl reports
  // -----------------------------------------------------------------------

  /// A line of the answer's head. False: end the transfer.
  [[nodiscard]] bool take_header(std::string_view line);
  enum class Taken { all, ended, paused };
  /// A piece of the body, decoded. `paused`: it was not taken; offer it again after resume.
  [[nodiscard]] Taken take_body(std::string_view piece);
  /// A connection is ready; `bytes_sent` is libcurl's count for this handle so far. False: do not
  /// use it.
  [[nodiscard]] bool take_connection(bool dead, long bytes_sent);
  /// No socket could be made.
  void note_socket_error(int error) noexcept { socket_error_ = error; }
  /// libcurl is done with it; the handle still has the details.
  void finish(CURLcode code, CURL* handle, const char* error_text);

  // --- The waiting fiber
  // -------------------------------------------------------------------------------------

  /// Waits until something is to be done: data, the end, a limit, cancellation. An error ends the
  /// exchange.
  [[nodiscard]] Result<void> wait();
  /// Gives what came to the request's callbacks.
  [[nodiscard]] Result<void> deliver();
  /// It is its turn to look for a connection.
  [[nodiscard]] bool may_connect() const noexcept { return place_.is_in(); }
  [[nodiscard]] bool finished() const noexcept { return finished_; }
  /// Set while libcurl holds data back; cleared by the call.
  [[nodiscard]] bool take_paused() noexcept;
  /// The connection was dead before anything was sent: the transfer has to be started again.
  [[nodiscard]] bool take_dead_connection() noexcept;
  /// The end: `result` is what the exchange came to; `handle` is asked how far an unfinished one
  /// got.
  [[nodiscard]] HttpOutcome take_outcome(Result<void> result, CURL* handle);
  [[nodiscard]] Result<void>& result() noexcept { return result_; }

 private:
  void start_head(std::string_view status_line);
  [[nodiscard]] Instant next_limit() const noexcept;
  void note_new_limit() noexcept;
  [[nodiscard]] Error limit_reached(Instant now) const;
  [[nodiscard]] Error body_too_large() const;
  [[nodiscard]] Result<void> redirect_error() const;
  [[nodiscard]] bool fail_with(ErrorCode code, std::string message);

  const HttpRequest& request_;
  const Clock& clock_;
  WaitPoint changed_{"an HTTP answer"};
  ConnectGate::Place place_;
  HttpResponse response_;
  Result<void> result_{};
  std::string pending_;    // Data for on_data that the fiber has not seen.
  std::string delivered_;  // The memory of what it saw last.

  const Instant started_;
  Instant connected_ = no_deadline;  // no_deadline: not yet
  Instant last_byte_ = no_deadline;
  Instant waiting_until_ = no_deadline;
  long bytes_before_ = 0;  // libcurl's count when the connection was ready
  std::size_t received_ = 0;
  int socket_error_ = 0;
  bool head_complete_ = false;
  bool head_delivered_ = false;
  bool streaming_ = false;
  bool paused_ = false;
  bool dead_connection_ = false;
  bool finished_ = false;
};

/// "https://host:port" of an URL; the URL's path and query stay out of error texts.
[[nodiscard]] std::string_view origin_of(std::string_view url) noexcept;

}  // namespace moderato
