#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat_completion_wire.hpp"
#include "provider_server.hpp"

namespace moderato {

/// What all connections of a server share; used on the server's thread.
struct ProviderService {
  ProviderServerOptions options;
  SimulatedEngine engine;
  std::int64_t connections = 0;
  std::int64_t peak_connections = 0;
  std::int64_t accepted = 0;

  explicit ProviderService(ProviderServerOptions o)
      : options(std::move(o)), engine(options.engine) {}
  /// The engine's counts and the connections.
  [[nodiscard]] Json stats() const;
};

/// One client: reads a request, answers it, reads the next. Callbacks rather than fibers: ten thousand
/// idle connections then cost a socket and a small object each.
class ProviderConnection : public std::enable_shared_from_this<ProviderConnection> {
 public:
  ProviderConnection(boost::asio::ip::tcp::socket socket, std::shared_ptr<ProviderService> service);
  ~ProviderConnection();
  ProviderConnection(const ProviderConnection&) = delete;
  ProviderConnection& operator=(const ProviderConnection&) = delete;

  void start() { read(); }

 private:
  using Error = boost::system::error_code;

  void read();
  void handle();
  void complete();
  void answer_completion();
  void send_whole();
  void send_stream_head();
  void send_pieces();
  void after(Duration delay, const std::function<void(ProviderConnection&)>& next);
  void write(std::string bytes, void (ProviderConnection::*next)());
  void respond(int status, std::string_view body);
  void refuse(int status, std::string_view code, std::string_view message);
  void next_request();
  void finish(bool delivered);
  void watch_for_close();

  boost::asio::ip::tcp::socket socket_;
  const std::shared_ptr<ProviderService> service_;
  boost::asio::steady_timer timer_;
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  ChatCompletionReader reader_;
  std::string out_;
  bool keep_alive_ = true;

  // The answer under way.
  std::optional<SimulatedAnswer> answer_;
  std::string model_;
  bool stream_ = false;
  bool stream_usage_ = false;
  std::vector<std::string> pieces_;
  std::size_t next_piece_ = 0;
};

}  // namespace moderato
