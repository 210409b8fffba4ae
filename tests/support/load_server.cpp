#include "support/load_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>
#include <vector>

namespace moderato::test {
namespace {

/// The server's side: one thread, one epoll.
class Server {
 public:
  Server(int listener, const LoadServerOptions& options)
      : listener_(listener), wanted_(options.answer_when_waiting), epoll_(epoll_create1(0)) {
    answer_ = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " +
              std::to_string(options.body.size()) + "\r\n\r\n" + options.body;
    watch(listener_);
  }

  [[noreturn]] void run() {
    for (;;) {
      std::array<epoll_event, 512> events;
      const int count = epoll_wait(epoll_, events.data(), events.size(), -1);
      for (int i = 0; i < count; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == listener_) {
          accept_all();
        } else {
          read_from(fd);
        }
      }
    }
  }

 private:
  struct Client {
    std::string head;
    std::size_t missing = 0;  // bytes of the body
  };

  void watch(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  void accept_all() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      if (clients_.size() <= static_cast<std::size_t>(fd)) {
        clients_.resize(static_cast<std::size_t>(fd) + 1);
      }
      clients_[static_cast<std::size_t>(fd)] = {};
      watch(fd);
    }
  }

  void read_from(int fd) {
    const ssize_t count = recv(fd, buffer_.data(), buffer_.size(), 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
      close(fd);
      return;
    }
    Client& client = clients_[static_cast<std::size_t>(fd)];
    std::string_view bytes(buffer_.data(), static_cast<std::size_t>(count));
    if (client.missing == 0) {
      client.head += bytes;
      const std::size_t end = client.head.find("\r\n\r\n");
      if (end == std::string::npos) return;
      client.missing = body_bytes(client.head.substr(0, end + 2));
      bytes.remove_prefix(bytes.size() - (client.head.size() - end - 4));
      client.head.clear();
    }
    client.missing -= std::min(client.missing, bytes.size());
    if (client.missing == 0) answer_or_hold(fd);
  }

  static std::size_t body_bytes(const std::string& head) {
    constexpr std::string_view name = "\r\ncontent-length:";
    const char* found = strcasestr(head.c_str(), name.data());
    return found == nullptr ? 0 : std::strtoul(found + name.size(), nullptr, 10);
  }

  void answer_or_hold(int fd) {
    waiting_.push_back(fd);
    if (waiting_.size() < wanted_) return;
    for (const int client : waiting_) send(client, answer_.data(), answer_.size(), MSG_NOSIGNAL);
    waiting_.clear();
  }

  int listener_;
  std::size_t wanted_;
  int epoll_;
  std::string answer_;
  std::vector<Client> clients_;  // by file descriptor
  std::vector<int> waiting_;
  std::array<char, 65536> buffer_{};
};

}  // namespace

LoadServer::LoadServer(LoadServerOptions options) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  if (listener < 0 || bind(listener, generic, size) != 0 || listen(listener, 4096) != 0 ||
      getsockname(listener, generic, &size) != 0) {
    throw std::system_error(errno, std::generic_category(), "listening on 127.0.0.1");
  }
  port_ = ntohs(address.sin_port);
  process_ = fork();
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Server(listener, options).run();
  }
  close(listener);
  if (process_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
}

LoadServer::~LoadServer() {
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
}

}  // namespace moderato::test
