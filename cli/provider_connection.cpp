#include "provider_connection.hpp"

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <moderato/core/clock.hpp>

namespace moderato {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr std::uint64_t most_body_bytes = 64ULL * 1024 * 1024;
constexpr std::size_t kept_buffer_bytes = 16 * 1024;

std::string_view reason(int status) {
  return {http::obsolete_reason(static_cast<http::status>(status)).data(),
          http::obsolete_reason(static_cast<http::status>(status)).size()};
}

void append_head(std::string& out, int status, const SimulatedAnswer* answer, bool keep_alive) {
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", status, reason(status));
  if (!keep_alive) out += "Connection: close\r\n";
  if (answer == nullptr) return;
  out += "x-request-id: " + answer->request_id + "\r\n";
  for (const auto& [name, value] : answer->headers) out += name + ": " + value + "\r\n";
}

void append_body(std::string& out, std::string_view body) {
  fmt::format_to(std::back_inserter(out),
                 "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.size());
  out += body;
}

std::string chunk(std::string_view bytes) {
  return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

}  // namespace

Json ProviderService::stats() const {
  Json json = to_json(engine.stats());
  json["connections"] = connections;
  json["peak_connections"] = peak_connections;
  json["accepted_connections"] = accepted;
  return json;
}

ProviderConnection::ProviderConnection(asio::ip::tcp::socket socket,
                                       std::shared_ptr<ProviderService> service)
    : socket_(std::move(socket)), service_(std::move(service)), timer_(socket_.get_executor()) {
  boost::system::error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  ++service_->accepted;
  service_->peak_connections = std::max(service_->peak_connections, ++service_->connections);
}

ProviderConnection::~ProviderConnection() {
  finish(false);
  --service_->connections;
}

void ProviderConnection::finish(bool delivered) {
  if (unfinished_) service_->engine.finished(answer_, delivered);
  unfinished_ = false;
}

void ProviderConnection::read() {
  parser_.emplace();
  parser_->body_limit(most_body_bytes);
  http::async_read(socket_, buffer_, *parser_,
                   [self = shared_from_this()](Error error, std::size_t) {
                     if (!error) return self->handle();
                     if (error == http::error::body_limit) {
                       self->keep_alive_ = false;
                       self->refuse(413, "request_too_large", "The request body is too large.");
                     }
                   });
}

void ProviderConnection::handle() {
  const auto& request = parser_->get();
  keep_alive_ = request.keep_alive();
  std::string_view path(request.target().data(), request.target().size());
  path = path.substr(0, path.find('?'));
  if (path.substr(0, 4) == "/v1/") path.remove_prefix(3);
  const auto& key = service_->options.api_key;
  if (!key.empty() && path != "/stats" && request[http::field::authorization] != "Bearer " + key) {
    return refuse(401, "invalid_api_key", "Incorrect API key provided.");
  }
  if (path == "/chat/completions" && request.method() == http::verb::post) return complete();
  if (path == "/stats") return respond(200, dump_json(service_->stats()));
  if (path == "/models") {
    Json models = Json::array();
    for (const char* id : {"review", "echo", "pingpong-10", "tokens-100", "weather"}) {
      models.push_back({{"id", id}, {"object", "model"}, {"owned_by", "moderato"}});
    }
    return respond(200, dump_json({{"object", "list"}, {"data", models}}));
  }
  refuse(404, "unknown_url", fmt::format("Unknown request URL: {}", path));
}

void ProviderConnection::complete() {
  auto request = service_->reader.read(parser_->get().body());
  if (!request) return refuse(400, "", request.error().message);
  model_ = request->request.question.model;
  stream_ = request->stream;
  stream_usage_ = request->stream_usage;
  answer_ = service_->engine.answer(SteadyClock().now(), request->request);
  unfinished_ = true;
  if (answer_.fault == FaultKind::stall) return watch_for_close();
  if (answer_.fault == FaultKind::reset) {
    boost::system::error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);  // RST instead of FIN
    socket_.close(ignored);
    return;
  }
  const bool streamed = stream_ && answer_.status == 200;
  after(answer_.first_token + (streamed ? Duration::zero() : answer_.text_time),
        streamed ? &ProviderConnection::send_stream_head : &ProviderConnection::send_whole);
}

void ProviderConnection::send_whole() {
  const bool broken =
      answer_.fault == FaultKind::truncated || answer_.fault == FaultKind::malformed_stream;
  if (broken) keep_alive_ = false;
  out_.clear();
  append_head(out_, answer_.status, &answer_, keep_alive_);
  if (answer_.status != 200) {
    append_body(out_, answer_.error_body);
  } else {
    std::string body = chat_completion(answer_, model_);
    if (answer_.fault == FaultKind::malformed_stream) body.insert(body.size() / 2, "}{\"");
    append_body(out_, body);
    if (answer_.fault == FaultKind::truncated) out_.resize(out_.size() - body.size() / 2);
  }
  finish(true);
  write(&ProviderConnection::next_request);
}

void ProviderConnection::send_stream_head() {
  const bool truncated = answer_.fault == FaultKind::truncated;
  out_.clear();
  append_head(out_, 200, &answer_, keep_alive_);
  out_ += "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  pieces_ = chat_completion_events(answer_, model_, stream_usage_);
  if (answer_.fault == FaultKind::malformed_stream) {
    pieces_[pieces_.size() / 2] = "data: {\"choices\": [{]\n\n";
  }
  if (truncated) pieces_.resize(pieces_.size() / 2);
  for (std::string& piece : pieces_) piece = chunk(piece);
  if (truncated) {
    keep_alive_ = false;
  } else {
    pieces_.back() += "0\r\n\r\n";
  }
  next_piece_ = 0;
  write(&ProviderConnection::send_pieces);
}

void ProviderConnection::send_pieces() {
  if (next_piece_ == pieces_.size()) return next_request();
  const Duration step = answer_.text_time / static_cast<Duration::rep>(pieces_.size());
  const bool together = !service_->options.packet_for_each_piece && step == Duration::zero();
  out_.clear();
  do {
    out_ += pieces_[next_piece_++];
  } while (together && next_piece_ < pieces_.size());
  after(step, &ProviderConnection::write_pieces);
}

void ProviderConnection::write_pieces() {
  if (next_piece_ == pieces_.size()) finish(true);
  write(&ProviderConnection::send_pieces);
}

void ProviderConnection::watch_for_close() {
  if (watching_) return;
  watching_ = true;
  socket_.async_wait(asio::ip::tcp::socket::wait_read, [self = shared_from_this()](Error error) {
    self->watching_ = false;
    char byte = 0;
    const auto peeked = error ? 1 : ::recv(self->socket_.native_handle(), &byte, 1, MSG_PEEK);
    if (peeked <= 0) self->timer_.cancel();  // and nobody holds the connection any more
  });
}

void ProviderConnection::after(Duration delay, Step next) {
  if (delay <= Duration::zero()) return (this->*next)();
  watch_for_close();
  timer_.expires_after(delay);
  timer_.async_wait([self = shared_from_this(), next](Error error) {
    if (!error) (*self.*next)();
  });
}

void ProviderConnection::write(Step next) {
  // Nearly every answer fits the socket's buffer: one system call, no wait, no handler.
  const auto sent =
      ::send(socket_.native_handle(), out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(out_.size())) {
    return asio::post(socket_.get_executor(),
                      [self = shared_from_this(), next] { (*self.*next)(); });
  }
  const std::size_t done = sent > 0 ? static_cast<std::size_t>(sent) : 0;
  asio::async_write(socket_, asio::buffer(out_) + done,
                    [self = shared_from_this(), next](Error failed, std::size_t) {
                      if (!failed) (*self.*next)();
                    });
}

void ProviderConnection::respond(int status, std::string_view body) {
  out_.clear();
  append_head(out_, status, nullptr, keep_alive_);
  append_body(out_, body);
  write(&ProviderConnection::next_request);
}

void ProviderConnection::refuse(int status, std::string_view code, std::string_view message) {
  respond(status, error_body("invalid_request_error", code, message));
}

void ProviderConnection::next_request() {
  boost::system::error_code ignored;
  if (!keep_alive_) {
    socket_.shutdown(asio::socket_base::shutdown_send, ignored);
    return;
  }
  if (watching_) socket_.cancel(ignored);
  if (buffer_.capacity() > kept_buffer_bytes && buffer_.size() == 0) {
    buffer_ = boost::beast::flat_buffer();
  }
  pieces_.clear();
  read();
}

}  // namespace moderato
