#include <moderato/llm/http/curl_handle.hpp>

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <new>

#include <moderato/llm/http/curl_pump.hpp>

// A handle keeps what it was set up for. Setting a fresh handle up (or one after curl_easy_reset)
// takes some 25 options and as many copies of texts; the requests of a model differ in their body
// alone, so nearly always two options are left to set.
//
// The URL is given to libcurl in parts. Given as a text, libcurl 7.88 takes it apart for every
// transfer and puts it together again, with a printf that goes byte by byte: a sixth of all
// instructions of an exchange.

namespace moderato {
namespace {

/// Bytes read from a socket at a time, and memory for each exchange under way.
constexpr long read_buffer_bytes = 4 * 1024;

ParsedUrl empty_url() {
  CURLU* made = curl_url();
  if (made == nullptr) throw std::bad_alloc();
  return {made, &curl_url_cleanup};
}

std::string url_part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return {};
  std::string copy(text);
  curl_free(text);
  return copy;
}

/// What may be shown of a URL that may be wrong in any way: no user name, no query.
std::string shown(std::string_view url) {
  if (url.find('@') != std::string_view::npos) return "(not shown: it has an @)";
  return fmt::format("\"{}\"", url.substr(0, url.find_first_of("?#")));
}

bool is_token(std::string_view name) {
  constexpr std::string_view allowed =
      "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return !name.empty() && name.find_first_not_of(allowed) == std::string_view::npos;
}

long milliseconds(Duration duration) {
  using std::chrono::milliseconds;
  return static_cast<long>(std::chrono::ceil<milliseconds>(duration).count());
}

}  // namespace

Result<ParsedUrl> parse_url(const std::string& url) {
  const auto wrong = [&](std::string_view what) {
    return fail(ErrorCode::configuration, fmt::format("bad URL {}: {}", shown(url), what));
  };
  if (url.empty()) return fail(ErrorCode::configuration, "the URL is empty");
  const auto wrong_byte = [](unsigned char c) { return c <= ' ' || c == 0x7F; };
  if (std::ranges::any_of(url, wrong_byte)) {
    return wrong("it contains a space or a control character");
  }
  ParsedUrl parsed = empty_url();
  const CURLUcode code =
      curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), CURLU_NON_SUPPORT_SCHEME);
  if (code == CURLUE_BAD_SCHEME) return wrong("it has to start with http:// or https://");
  if (code != CURLUE_OK) return wrong(curl_url_strerror(code));
  const std::string scheme = url_part(parsed.get(), CURLUPART_SCHEME);
  if (scheme != "https" && scheme != "http") {
    return wrong(fmt::format("the scheme is \"{}\"; only http and https are spoken", scheme));
  }
  if (!url_part(parsed.get(), CURLUPART_USER).empty() ||
      !url_part(parsed.get(), CURLUPART_PASSWORD).empty()) {
    return wrong("it carries a user name or a password; send a key in a header");
  }
  return parsed;
}

Result<void> check_proxy(const std::string& proxy) {
  if (proxy.empty() || proxy == proxy_of_environment) return {};
  const ParsedUrl parsed = empty_url();
  const CURLUcode code = curl_url_set(parsed.get(), CURLUPART_URL, proxy.c_str(),
                                      CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME);
  const auto wrong = [](std::string_view what) {
    return fail(ErrorCode::configuration,
                fmt::format("bad proxy (not shown: it may carry a password): {}", what));
  };
  if (code != CURLUE_OK) return wrong(curl_url_strerror(code));
  const std::string scheme = url_part(parsed.get(), CURLUPART_SCHEME);
  constexpr std::array<std::string_view, 6> spoken{"http",    "https",  "socks4",
                                                   "socks4a", "socks5", "socks5h"};
  if (std::ranges::find(spoken, scheme) == spoken.end()) {
    return wrong(
        "it has to start with http://, https://, socks4://, socks4a://, socks5:// or "
        "socks5h://");
  }
  return {};
}

long connect_timeout_ms(Duration limit) noexcept {
  constexpr long grace = 50;  // the fiber comes first, and says which limit it was
  return limit > Duration::zero() ? milliseconds(limit) + grace : std::numeric_limits<int>::max();
}

CurlHandle::CurlHandle(CurlPump& pump, std::size_t shard, CURLSH* shared)
    : pump_(pump), shard_(shard), easy_(curl_easy_init()) {
  if (easy_ == nullptr) throw std::bad_alloc();
  set_constants(shared);
}

CurlHandle::~CurlHandle() {
  curl_easy_cleanup(easy_);
}

void CurlHandle::set_constants(CURLSH* shared) {
  curl_easy_setopt(easy_, CURLOPT_PRIVATE, this);
  curl_easy_setopt(easy_, CURLOPT_SHARE, shared);
  curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, error_text_.data());
  curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
  // Else removing a handle waits for its name look-up, and the whole loop with it. The look-up's
  // thread is let go; it owns what it uses and frees it when it ends.
  curl_easy_setopt(easy_, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy_, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(easy_, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(easy_, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(easy_, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(easy_, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy_, CURLOPT_BUFFERSIZE, read_buffer_bytes);
  curl_easy_setopt(easy_, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(easy_, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(easy_, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy_, CURLOPT_PREREQFUNCTION, &on_connection);
  curl_easy_setopt(easy_, CURLOPT_PREREQDATA, this);
  curl_easy_setopt(easy_, CURLOPT_OPENSOCKETFUNCTION, &on_open_socket);
  curl_easy_setopt(easy_, CURLOPT_OPENSOCKETDATA, this);
  curl_easy_setopt(easy_, CURLOPT_CLOSESOCKETFUNCTION, &CurlPump::on_close_socket);
  curl_easy_setopt(easy_, CURLOPT_CLOSESOCKETDATA, &pump_);
}

Result<void> CurlHandle::set_url(const std::string& url) {
  Result<ParsedUrl> parsed = pump_.parsed(url);
  if (!parsed) return tl::unexpected<Error>(std::move(parsed).error());
  url_ = url;
  curl_easy_setopt(easy_, CURLOPT_URL, url_.c_str());  // what libcurl would show
  curl_easy_setopt(easy_, CURLOPT_CURLU, parsed->get());
  parsed_url_ = std::move(*parsed);
  // HTTP/2 where the TLS handshake offers it: exchanges that start together wait for its end, to
  // share the connection if they can. Without TLS they would wait for the first answer.
  const bool tls = url_.starts_with("https:") || url_.starts_with("HTTPS:");
  curl_easy_setopt(easy_, CURLOPT_PIPEWAIT, tls ? 1L : 0L);
  curl_easy_setopt(easy_, CURLOPT_HTTP_VERSION,
                   static_cast<long>(tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  return {};
}

Result<void> CurlHandle::set_headers(const std::vector<HttpHeader>& headers) {
  std::unique_ptr<curl_slist, FreeList> list;
  const auto append = [&](const std::string& line) {
    curl_slist* longer = curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    (void)list.release();
    list.reset(longer);
  };
  append("Expect:");        // no waiting for 100-continue
  append("Content-Type:");  // nothing but what the caller says
  for (const HttpHeader& header : headers) {
    if (!is_token(header.name)) {
      return fail(ErrorCode::configuration, fmt::format("bad header name \"{}\"", header.name));
    }
    constexpr std::string_view forbidden("\r\n\0", 3);
    if (header.value.find_first_of(forbidden) != std::string::npos) {
      return fail(ErrorCode::configuration,
                  fmt::format("the value of the header \"{}\" contains a line end (a key that was "
                              "read from a file with its line end?)",
                              header.name));
    }
    // "Name;" is libcurl's way to send a header without a value.
    append(header.value.empty() ? header.name + ";" : header.name + ": " + header.value);
  }
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, list.get());
  header_list_ = std::move(list);
  headers_ = headers;
  return {};
}

void CurlHandle::set_body(const HttpRequest& request) {
  if (method_ != request.method) {
    method_ = request.method;
    if (method_ == "GET") {
      curl_easy_setopt(easy_, CURLOPT_HTTPGET, 1L);
    } else {
      curl_easy_setopt(easy_, CURLOPT_POST, 1L);
    }
    const bool named = method_ == "GET" || method_ == "POST";
    curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, named ? nullptr : method_.c_str());
  }
  if (method_ == "GET") return;
  curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE,
                   static_cast<curl_off_t>(request.body.size()));
  curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, request.body.data());
}

Result<void> CurlHandle::prepare(CurlTransfer& transfer) {
  const HttpRequest& request = transfer.request();
  if (url_.empty() || url_ != request.url) {
    if (Result<void> set = set_url(request.url); !set) return set;
  }
  if (header_list_ == nullptr || headers_ != request.headers) {
    if (Result<void> set = set_headers(request.headers); !set) return set;
  }
  if (!is_token(request.method)) {
    return fail(ErrorCode::configuration, fmt::format("bad method \"{}\"", request.method));
  }
  if (ca_file_ != request.ca_file) {
    ca_file_ = request.ca_file;
    curl_easy_setopt(easy_, CURLOPT_CAINFO, ca_file_.empty() ? nullptr : ca_file_.c_str());
  }
  if (proxy_ != request.proxy) {
    if (Result<void> checked = check_proxy(request.proxy); !checked) return checked;
    proxy_ = request.proxy;
    // Null: libcurl looks at the environment, for exceptions as well. Empty: it does not.
    const bool environment = proxy_ == proxy_of_environment;
    curl_easy_setopt(easy_, CURLOPT_PROXY, environment ? nullptr : proxy_.c_str());
    curl_easy_setopt(easy_, CURLOPT_NOPROXY, environment ? nullptr : "");
  }
  if (connect_limit_ != request.limits.connect) {
    // The fiber enforces it; libcurl uses it to try the next address of a host in time.
    connect_limit_ = request.limits.connect;
    curl_easy_setopt(easy_, CURLOPT_CONNECTTIMEOUT_MS, connect_timeout_ms(connect_limit_));
  }
  if (max_response_bytes_ != request.limits.max_response_bytes) {
    max_response_bytes_ = request.limits.max_response_bytes;
    constexpr auto largest = static_cast<std::size_t>(std::numeric_limits<curl_off_t>::max());
    curl_easy_setopt(easy_, CURLOPT_MAXFILESIZE_LARGE,
                     static_cast<curl_off_t>(std::min(max_response_bytes_, largest)));
  }
  set_body(request);
  use_fresh_connection(false);
  transfer_ = &transfer;
  error_text_[0] = '\0';
  return {};
}

void CurlHandle::use_fresh_connection(bool fresh) noexcept {
  if (fresh_connection_ == fresh) return;
  fresh_connection_ = fresh;
  curl_easy_setopt(easy_, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
}

std::size_t CurlHandle::on_header(char* data, std::size_t size, std::size_t count, void* handle) {
  CurlTransfer& transfer = *static_cast<CurlHandle*>(handle)->transfer_;
  return transfer.take_header({data, size * count}) ? size * count : 0;
}

std::size_t CurlHandle::on_body(char* data, std::size_t size, std::size_t count, void* handle) {
  CurlTransfer& transfer = *static_cast<CurlHandle*>(handle)->transfer_;
  switch (transfer.take_body({data, size * count})) {
    case CurlTransfer::Taken::all:
      return size * count;
    case CurlTransfer::Taken::paused:
      return CURL_WRITEFUNC_PAUSE;
    case CurlTransfer::Taken::ended:
      break;
  }
  return CURL_WRITEFUNC_ERROR;
}

int CurlHandle::on_connection(void* handle, char* /*peer_ip*/, char* /*local_ip*/,
                              int /*peer_port*/, int local_port) {
  auto& self = *static_cast<CurlHandle*>(handle);
  long bytes_sent = 0;
  curl_easy_getinfo(self.easy_, CURLINFO_REQUEST_SIZE, &bytes_sent);
  const bool dead = self.pump_.is_dead(self.shard_, local_port);
  return self.transfer_->take_connection(dead, bytes_sent) ? CURL_PREREQFUNC_OK
                                                           : CURL_PREREQFUNC_ABORT;
}

curl_socket_t CurlHandle::on_open_socket(void* handle, curlsocktype /*purpose*/,
                                         curl_sockaddr* address) {
  const int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  const int error = errno;
  auto& self = *static_cast<CurlHandle*>(handle);
  if (fd >= 0) {
    self.pump_.note_connection(self.shard_, fd);
  } else if (self.transfer_ != nullptr) {
    self.transfer_->note_socket_error(error);
  }
  return fd;
}

}  // namespace moderato
