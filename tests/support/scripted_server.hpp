#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace moderato::test {

/// Something that a test and a server's script tell each other. Sticky.
class Signal {
 public:
  void set();
  void wait();
  /// Ends early, with false, when `give_up` is true after a wake-up.
  bool wait_unless(const std::function<bool()>& give_up);
  [[nodiscard]] bool is_set() const;
  void wake() { condition_.notify_all(); }

 private:
  mutable std::mutex mutex_;
  std::condition_variable condition_;
  bool set_ = false;
};

/// The bytes of one connection, plain or encrypted.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  /// 0: the peer closed; negative: an error.
  virtual long read(char* to, std::size_t size) = 0;
  virtual bool write(std::string_view bytes) = 0;
};

/// A request as it arrived.
struct ReceivedRequest {
  std::string head;  ///< Request line and headers, as they came.
  std::string body;
  /// Value of a header (ASCII case is ignored); empty if it is not there.
  [[nodiscard]] std::string header(std::string_view name) const;
  [[nodiscard]] std::string line() const { return head.substr(0, head.find("\r\n")); }
};

class ScriptedServer;

/// One accepted connection, as a script sees it. Every call blocks; when the server is destroyed
/// the calls fail and the script should return.
class ServerConnection {
 public:
  ServerConnection(ScriptedServer& server, int fd, std::unique_ptr<ByteStream> stream, int number)
      : server_(server), fd_(fd), stream_(std::move(stream)), number_(number) {}

  /// The next request; nullopt when the peer has closed. Understands Content-Length.
  [[nodiscard]] std::optional<ReceivedRequest> read_request();
  /// The next `count` bytes, whatever they are; nullopt when the peer closed before.
  [[nodiscard]] std::optional<std::string> read_bytes(std::size_t count);
  /// Exactly these bytes. False if the peer is gone.
  bool write(std::string_view bytes) { return stream_->write(bytes); }
  /// A complete answer with Content-Length.
  bool answer(std::string_view body, std::string_view status = "200 OK",
              std::string_view more_headers = "");
  /// Sends a FIN; the peer can still send.
  void close_write_side();
  /// Blocks until the peer closes; true if it did.
  bool wait_for_close();
  /// Until the test sets it; false if the server ends first.
  bool wait(Signal& signal);
  /// Closes with a RST instead of a FIN when the script returns.
  void reset_at_end();
  /// 0 for the first connection of the server.
  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  ScriptedServer& server_;
  int fd_;
  std::unique_ptr<ByteStream> stream_;
  int number_;
  std::string buffer_;
};

/// An HTTP server on 127.0.0.1 whose every byte a test decides: each connection runs `script` on a
/// thread of its own and is closed when it returns.
class ScriptedServer {
 public:
  using Script = std::function<void(ServerConnection&)>;
  /// Makes a connection's stream; null ends the connection (a handshake that failed).
  using MakeStream = std::function<std::unique_ptr<ByteStream>(int fd)>;

  explicit ScriptedServer(Script script);
  ScriptedServer(Script script, MakeStream make_stream, std::string scheme);
  ~ScriptedServer();
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  /// "http://127.0.0.1:port" + path.
  [[nodiscard]] std::string url(std::string_view path = "/") const;
  [[nodiscard]] int port() const noexcept { return port_; }
  [[nodiscard]] int connections() const;       ///< Accepted so far.
  [[nodiscard]] int requests() const;          ///< Read whole so far.
  [[nodiscard]] int open_connections() const;  ///< Whose script has not returned.

 private:
  friend class ServerConnection;
  void accept_all();
  void serve(int fd, int number);

  Script script_;
  MakeStream make_stream_;
  std::string scheme_;
  int port_ = 0;
  int listener_ = -1;
  mutable std::mutex mutex_;
  bool ending_ = false;
  int requests_ = 0;
  std::vector<int> open_;
  std::vector<Signal*> waited_for_;
  std::vector<std::thread> threads_;
  int accepted_ = 0;
  std::thread acceptor_;
};

/// Answers every request on every connection with the same body.
[[nodiscard]] ScriptedServer::Script always(std::string body, std::string status = "200 OK");

/// A port of 127.0.0.1 on which nobody listens.
[[nodiscard]] int closed_port();

}  // namespace moderato::test
