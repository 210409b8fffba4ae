#include "support/scripted_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace moderato::test {
namespace {

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(int fd) : fd_(fd) {}
  long read(char* to, std::size_t size) override { return recv(fd_, to, size, 0); }
  bool write(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

 private:
  int fd_;
};

int listen_on_loopback(int& port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (fd < 0 || bind(fd, generic, size) != 0 || listen(fd, 4096) != 0 ||
      getsockname(fd, generic, &size) != 0) {
    throw std::system_error(errno, std::generic_category(), "listening on 127.0.0.1");
  }
  port = ntohs(address.sin_port);
  return fd;
}

}  // namespace

void Signal::set() {
  const std::scoped_lock lock(mutex_);
  set_ = true;
  condition_.notify_all();
}

void Signal::wait() {
  wait_unless([] { return false; });
}

bool Signal::wait_unless(const std::function<bool()>& give_up) {
  std::unique_lock lock(mutex_);
  condition_.wait(lock, [&] { return set_ || give_up(); });
  return set_;
}

bool Signal::is_set() const {
  const std::scoped_lock lock(mutex_);
  return set_;
}

std::string ReceivedRequest::header(std::string_view name) const {
  for (std::size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at)) {
    at += 2;
    const std::size_t colon = head.find(':', at);
    if (colon == std::string::npos) break;
    if (colon - at != name.size() || strncasecmp(&head[at], name.data(), name.size()) != 0)
      continue;
    const std::size_t value = head.find_first_not_of(' ', colon + 1);
    return head.substr(value, head.find("\r\n", value) - value);
  }
  return {};
}

std::optional<ReceivedRequest> ServerConnection::read_request() {
  ReceivedRequest request;
  std::size_t wanted = std::string::npos;  // of the whole request
  for (;;) {
    const std::size_t head_end = buffer_.find("\r\n\r\n");
    if (wanted == std::string::npos && head_end != std::string::npos) {
      request.head = buffer_.substr(0, head_end + 4);
      const std::string length = request.header("content-length");
      wanted = head_end + 4 + (length.empty() ? 0 : std::stoul(length));
    }
    if (buffer_.size() >= wanted) break;
    std::array<char, 16384> bytes;
    const long count = stream_->read(bytes.data(), bytes.size());
    if (count <= 0) return std::nullopt;
    buffer_.append(bytes.data(), static_cast<std::size_t>(count));
  }
  request.body = buffer_.substr(request.head.size(), wanted - request.head.size());
  buffer_.erase(0, wanted);
  const std::scoped_lock lock(server_.mutex_);
  ++server_.requests_;
  return request;
}

std::optional<std::string> ServerConnection::read_bytes(std::size_t count) {
  while (buffer_.size() < count) {
    std::array<char, 16384> bytes;
    const long got = stream_->read(bytes.data(), bytes.size());
    if (got <= 0) return std::nullopt;
    buffer_.append(bytes.data(), static_cast<std::size_t>(got));
  }
  std::string taken = buffer_.substr(0, count);
  buffer_.erase(0, count);
  return taken;
}

bool ServerConnection::answer(std::string_view body, std::string_view status,
                              std::string_view more_headers) {
  std::string bytes = "HTTP/1.1 ";
  bytes.append(status).append("\r\nContent-Length: ").append(std::to_string(body.size()));
  bytes.append("\r\n").append(more_headers).append("\r\n").append(body);
  return write(bytes);
}

void ServerConnection::close_write_side() {
  shutdown(fd_, SHUT_WR);
}

bool ServerConnection::wait_for_close() {
  std::array<char, 4096> ignored;
  long count = 1;
  while (count > 0) count = stream_->read(ignored.data(), ignored.size());
  const std::scoped_lock lock(server_.mutex_);
  return !server_.ending_;
}

bool ServerConnection::wait(Signal& signal) {
  {
    const std::scoped_lock lock(server_.mutex_);
    server_.waited_for_.push_back(&signal);
  }
  const bool set = signal.wait_unless([&] {
    const std::scoped_lock lock(server_.mutex_);
    return server_.ending_;
  });
  const std::scoped_lock lock(server_.mutex_);
  server_.waited_for_.erase(
      std::find(server_.waited_for_.begin(), server_.waited_for_.end(), &signal));
  return set;
}

void ServerConnection::reset_at_end() {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

ScriptedServer::ScriptedServer(Script script)
    : ScriptedServer(
          std::move(script), [](int fd) { return std::make_unique<PlainStream>(fd); }, "http") {}

ScriptedServer::ScriptedServer(Script script, MakeStream make_stream, std::string scheme)
    : script_(std::move(script)),
      make_stream_(std::move(make_stream)),
      scheme_(std::move(scheme)),
      listener_(listen_on_loopback(port_)),
      acceptor_([this] { accept_all(); }) {}

ScriptedServer::~ScriptedServer() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
    for (const int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  for (;;) {  // A script may be on its way into a wait: wake until none is left.
    std::vector<Signal*> waited_for;
    {
      const std::scoped_lock lock(mutex_);
      waited_for = waited_for_;
    }
    if (waited_for.empty()) break;
    for (Signal* signal : waited_for) signal->wake();
    std::this_thread::yield();
  }
  for (std::thread& thread : threads_) thread.join();
  close(listener_);
}

void ScriptedServer::accept_all() {
  for (;;) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::scoped_lock lock(mutex_);
    if (ending_) {
      close(fd);
      return;
    }
    open_.push_back(fd);
    threads_.emplace_back([this, fd, number = accepted_++] { serve(fd, number); });
  }
}

void ScriptedServer::serve(int fd, int number) {
  if (std::unique_ptr<ByteStream> stream = make_stream_(fd)) {
    ServerConnection connection(*this, fd, std::move(stream), number);
    script_(connection);
  }
  const std::scoped_lock lock(mutex_);
  close(fd);
  open_.erase(std::find(open_.begin(), open_.end(), fd));
}

std::string ScriptedServer::url(std::string_view path) const {
  return scheme_ + "://127.0.0.1:" + std::to_string(port_) + std::string(path);
}

int ScriptedServer::connections() const {
  const std::scoped_lock lock(mutex_);
  return accepted_;
}

int ScriptedServer::requests() const {
  const std::scoped_lock lock(mutex_);
  return requests_;
}

int ScriptedServer::open_connections() const {
  const std::scoped_lock lock(mutex_);
  return static_cast<int>(open_.size());
}

ScriptedServer::Script always(std::string body, std::string status) {
  return [body = std::move(body), status = std::move(status)](ServerConnection& connection) {
    while (connection.read_request()) {
      if (!connection.answer(body, status)) return;
    }
  };
}

int closed_port() {
  int port = 0;
  close(listen_on_loopback(port));
  return port;
}

}  // namespace moderato::test
