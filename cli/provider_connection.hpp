#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
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
  ChatCompletionReader reader;
  std::int64_t connections = 0;
  std::int64_t peak_connections = 0;
  std::int64_t accepted = 0;

  explicit ProviderService(ProviderServerOptions o)
      : options(std::move(o)), engine(options.engine) {}
  /// The engine's counts and the connections.
  [[nodiscard]] Json stats() const;
};

/// One client: reads a request, answers it, reads the next. Callbacks rather than fibers: ten
/// thousand idle connections then cost a socket and a small object each.
class ProviderConnection : public std::enable_shared_from_this<ProviderConnection> {
 public:
  ProviderConnection(boost::asio::ip::tcp::socket socket, std::shared_ptr<ProviderService> service);
  ~ProviderConnection();
  ProviderConnection(const ProviderConnection&) = delete;
  ProviderConnection& operator=(const ProviderConnection&) = delete;

  void start() { read(); }

 private:
  using Error = boost::system::error_code;
  using Step = void (ProviderConnection::*)();

  void read();
  void handle();
  void complete();
  void send_whole();
  void send_stream_head();
  void send_pieces();
  void write_pieces();
  void respond(int status, std::string_view body);
  void refuse(int status, std::string_view code, std::string_view message);
  void next_request();

  /// Goes on with `next` after the delay; a client that leaves meanwhile is let go at once.
  void after(Duration delay, Step next);
  /// Sends out_, then goes on with `next`.
  void write(Step next);
  void watch_for_close();
  /// Ends the answer, if there is one. Called before its last bytes leave: whoever has them finds
  /// the slot free and the answer counted.
  void finish(bool delivered);

  boost::asio::ip::tcp::socket socket_;
  const std::shared_ptr<ProviderService> service_;
  boost::asio::steady_timer timer_;
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  std::string out_;
  bool keep_alive_ = true;

  bool watching_ = false;

  // The answer under way.
  SimulatedAnswer answer_{};
  bool unfinished_ = false;
  std::string model_;
  bool stream_ = false;
  bool stream_usage_ = false;
  std::vector<std::string> pieces_;
  std::size_t next_piece_ = 0;
};

}  // namespace moderato
