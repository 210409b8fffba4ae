#include <moderato/llm/http/curl_transfer.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

// Limits without timers
//
// libcurl has a timer for the connection and one for the whole, and arms them for every transfer.
// Here the waiting fiber is the timer: it waits until the earliest limit that applies to the state
// it saw; bytes that arrive only note the time. When the wait times out and the limit has moved on
// (bytes came meanwhile), the fiber waits again. It is woken only when a new state has an earlier
// limit than the old one: connected, first byte. So a limit costs nothing for each byte.
//
// Once and once only
//
// When a kept connection breaks before a byte of the answer came, libcurl sends the request again
// on a fresh one, up to five times, POST included, and has no option against it. The server may
// have worked on every copy. Every attempt passes the pre-request callback, though: take_connection
// lets the second one pass only if no byte of the first had left.
//
// Dead connections are normal: servers close idle ones after some seconds. libcurl 7.88.0
// and 7.88.1 do not see that a connection in their pool is dead (curl issue 10646), write to it,
// and fail. The pump watches idle connections; one known to be dead is refused here as well, before
// a byte is sent, which makes libcurl close it, and the transfer is started again on a fresh one.

namespace moderato {
namespace {

constexpr std::size_t max_head_bytes = 256UL * 1024;
/// Data kept for a slow on_data before the peer is held back.
constexpr std::size_t max_pending_bytes = 256UL * 1024;

constexpr Duration one_turn_of_the_loop = std::chrono::milliseconds(1);

/// The host of an absolute URL, without a user name; empty for a relative one.
std::string_view host_of(std::string_view url) {
  std::string_view origin = origin_of(url);
  if (origin.empty()) return {};
  origin.remove_prefix(origin.find("://") + 3);
  const std::size_t user_end = origin.rfind('@');
  return user_end == std::string_view::npos ? origin : origin.substr(user_end + 1);
}

Instant after(Instant since, Duration limit) noexcept {
  return limit > Duration::zero() ? saturating_add(since, limit) : no_deadline;
}

std::string seconds(Duration duration) {
  return fmt::format("{:g} s", std::chrono::duration<double>(duration).count());
}

/// A handshake that broke like any connection does is worth a retry; a refused certificate is not.
bool broken_handshake(std::string_view text) {
  return text.find("SSL_ERROR_SYSCALL") != text.npos || text.find("reset by peer") != text.npos ||
         text.find("unexpected eof") != text.npos || text.find("Broken pipe") != text.npos;
}

bool quotes_proxy(std::string_view text) {
  return text.find('@') != text.npos || text.find("roxy") != text.npos;
}

ErrorCode classify(CURLcode code, std::string_view text) {
  switch (code) {
    case CURLE_SSL_CONNECT_ERROR:
      return broken_handshake(text) ? ErrorCode::connection : ErrorCode::tls;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
      return ErrorCode::tls;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
      return ErrorCode::configuration;
    case CURLE_OPERATION_TIMEDOUT:
      return ErrorCode::timeout;
    case CURLE_UNSUPPORTED_PROTOCOL:  // HTTP/0.9: the URL's scheme was checked before
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
      return ErrorCode::protocol;
    case CURLE_OUT_OF_MEMORY:
      return ErrorCode::internal;
    default:  // Name look-up, connect, send, receive, a cut body, an HTTP/2 stream error (92), …
      return ErrorCode::connection;
  }
}

}  // namespace

std::string_view origin_of(std::string_view url) noexcept {
  const std::size_t host = url.find("://");
  if (host == std::string_view::npos) return {};
  return url.substr(0, url.find_first_of("/?#", host + 3));
}

CurlTransfer::CurlTransfer(const HttpRequest& request, const Clock& clock, ConnectGate& gate)
    : request_(request), clock_(clock), place_(gate, changed_), started_(clock.now()) {}

bool CurlTransfer::fail_with(ErrorCode code, std::string message) {
  result_ = fail(code, std::move(message));
  return false;
}

bool CurlTransfer::take_connection(bool dead, long bytes_sent) {
  if (dead) {
    dead_connection_ = true;
    return false;
  }
  if (connected_ == no_deadline) {
    bytes_before_ = bytes_sent;
  } else if (bytes_sent > bytes_before_) {
    return fail_with(
        ErrorCode::connection,
        fmt::format("{} closed a kept connection before it answered", origin_of(request_.url)));
  }
  connected_ = clock_.now();
  place_.leave();
  note_new_limit();
  return true;
}

void CurlTransfer::start_head(std::string_view status_line) {
  response_.headers.clear();
  response_.status = 0;
  const std::size_t space = status_line.find(' ');
  if (space == std::string_view::npos) return;
  const std::string_view digits = status_line.substr(space + 1, 3);
  std::from_chars(digits.data(), digits.data() + digits.size(), response_.status);
}

bool CurlTransfer::take_header(std::string_view line) {
  last_byte_ = clock_.now();
  if (head_complete_) return true;  // A trailer.
  if (!response_.timings.first_byte) {
    response_.timings.first_byte = last_byte_ - started_;
    note_new_limit();
  }
  if (line.starts_with("HTTP/")) {
    start_head(line);
  } else if (line == "\r\n" || line == "\n") {
    if (response_.status < 200) return true;  // 100 and 103: the real head follows.
    head_complete_ = true;
    streaming_ = request_.on_data && response_.status < 300;
    if (request_.on_headers) changed_.notify();
  } else {
    response_.headers.add_line(line);
    if (response_.headers.bytes() > max_head_bytes) {
      return fail_with(ErrorCode::too_large, fmt::format("{} sent more than {} bytes of headers",
                                                         origin_of(request_.url), max_head_bytes));
    }
  }
  return true;
}

CurlTransfer::Taken CurlTransfer::take_body(std::string_view piece) {
  last_byte_ = clock_.now();
  std::string& target = streaming_ ? pending_ : response_.body;
  if (streaming_ && pending_.size() > max_pending_bytes) {
    paused_ = true;
    return Taken::paused;
  }
  received_ += piece.size();
  if (received_ > request_.limits.max_response_bytes) {
    result_ = fail(body_too_large());
    return Taken::ended;
  }
  target += piece;
  if (streaming_) changed_.notify();
  return Taken::all;
}

void CurlTransfer::finish(CURLcode code, CURL* handle, const char* error_text) {
  finished_ = true;
  changed_.notify();
  if (code == CURLE_OK || !result_ || dead_connection_) return;
  if (code == CURLE_FILESIZE_EXCEEDED) {  // By its Content-Length.
    result_ = fail(body_too_large());
    return;
  }
  std::string_view text = *error_text != '\0' ? error_text : curl_easy_strerror(code);
  // libcurl quotes a proxy that it cannot use, and with it a password.
  if (!request_.proxy.empty() && quotes_proxy(text)) text = curl_easy_strerror(code);
  std::string message = fmt::format("{}: {}", origin_of(request_.url), text);
  long os_error = 0;
  curl_easy_getinfo(handle, CURLINFO_OS_ERRNO, &os_error);
  if (socket_error_ == EMFILE || socket_error_ == ENFILE) {
    message += " (too many open files: raise the limit, ulimit -n)";
  }
  result_ = fail(classify(code, text), std::move(message));
}

Instant CurlTransfer::next_limit() const noexcept {
  const HttpLimits& limits = request_.limits;
  Instant next = std::min(request_.deadline, after(started_, limits.total));
  if (connected_ == no_deadline) return std::min(next, after(started_, limits.connect));
  if (last_byte_ == no_deadline) return std::min(next, after(connected_, limits.first_byte));
  return std::min(next, after(last_byte_, limits.silence));
}

void CurlTransfer::note_new_limit() noexcept {
  if (next_limit() < waiting_until_) changed_.notify();
}

Error CurlTransfer::body_too_large() const {
  return {.code = ErrorCode::too_large,
          .message = fmt::format("the answer of {} has more than {} bytes (max_response_bytes)",
                                 origin_of(request_.url), request_.limits.max_response_bytes)};
}

Error CurlTransfer::limit_reached(Instant now) const {
  const HttpLimits& limits = request_.limits;
  const std::string_view origin = origin_of(request_.url);
  const auto timeout = [](std::string text) {
    return Error{.code = ErrorCode::timeout, .message = std::move(text)};
  };
  if (request_.deadline <= now) {
    return {.code = ErrorCode::deadline_exceeded,
            .message = fmt::format("the deadline passed while {} had not answered", origin)};
  }
  if (after(started_, limits.total) <= now) {
    return timeout(fmt::format("{} took longer than {} (total)", origin, seconds(limits.total)));
  }
  if (connected_ == no_deadline) {
    return timeout(
        fmt::format("no connection to {} within {} (connect)", origin, seconds(limits.connect)));
  }
  if (last_byte_ == no_deadline) {
    return timeout(
        fmt::format("no answer of {} within {} (first_byte)", origin, seconds(limits.first_byte)));
  }
  return timeout(fmt::format("{} fell silent for {} within its answer (silence)", origin,
                             seconds(limits.silence)));
}

// The loop fires timers before it looks at sockets. Where something else held the loop for longer
// than a limit, the peer's bytes may lie in the socket: nobody is called silent before the sockets
// were looked at once more.
Result<void> CurlTransfer::wait() {
  bool looked_again = false;
  for (;;) {
    waiting_until_ =
        looked_again ? saturating_add(clock_.now(), one_turn_of_the_loop) : next_limit();
    switch (changed_.wait(waiting_until_, request_.stop)) {
      case Wake::notified:
        return {};
      case Wake::cancelled:
        return fail(ErrorCode::cancelled,
                    fmt::format("the request to {} was cancelled", origin_of(request_.url)));
      case Wake::timed_out:
        const Instant now = clock_.now();
        const bool reached = next_limit() <= now;
        if (reached && looked_again) return fail(limit_reached(now));
        looked_again = reached;
    }
  }
}

Result<void> CurlTransfer::deliver() {
  try {
    if (head_complete_ && !head_delivered_) {
      head_delivered_ = true;
      if (request_.on_headers) request_.on_headers(response_);
    }
    while (!pending_.empty()) {
      delivered_.swap(pending_);  // on_data may wait, and data may come meanwhile
      pending_.clear();
      Result<void> taken = request_.on_data(delivered_);
      if (!taken) return taken;
    }
  } catch (const std::exception& thrown) {
    return fail(ErrorCode::internal,
                fmt::format("a callback of the request threw: {}", thrown.what()));
  } catch (...) {
    return fail(ErrorCode::internal, "a callback of the request threw");
  }
  return {};
}

bool CurlTransfer::take_paused() noexcept {
  if (!paused_) return false;
  paused_ = false;
  last_byte_ = clock_.now();  // The silence was ours.
  return true;
}

bool CurlTransfer::take_dead_connection() noexcept {
  if (!dead_connection_) return false;
  dead_connection_ = false;
  finished_ = false;
  return true;
}

Result<void> CurlTransfer::redirect_error() const {
  const std::string_view host = host_of(response_.headers.find("location").value_or(""));
  return fail(Error{.code = ErrorCode::configuration,
                    .message = fmt::format(
                        "{} redirects to {}; redirects are not followed, so that no key goes to "
                        "another host: put the right URL into the configuration",
                        origin_of(request_.url), host.empty() ? "another path" : host),
                    .http_status = response_.status});
}

HttpOutcome CurlTransfer::take_outcome(Result<void> result, CURL* handle) {
  HttpOutcome outcome{.result = std::move(result)};
  if (response_.status != 0) {
    outcome.reached = Reached::answered;
  } else if (connected_ != no_deadline) {
    long bytes_sent = 0;
    curl_easy_getinfo(handle, CURLINFO_REQUEST_SIZE, &bytes_sent);
    if (bytes_sent > bytes_before_) outcome.reached = Reached::sent;
  }
  if (outcome.result && response_.status >= 300 && response_.status < 400) {
    outcome.result = redirect_error();
  }
  if (!outcome.result) outcome.result.error().http_status = response_.status;
  if (connected_ != no_deadline) response_.timings.connected = connected_ - started_;
  response_.timings.total = clock_.now() - started_;
  outcome.response = std::move(response_);
  return outcome;
}

}  // namespace moderato
