// Loads a running `moderato provider` with as little client as can be: keep-alive connections, one
// question at a time on each, answers counted and thrown away. Prints one JSON line.
//
//   bench_provider_load PORT CONNECTIONS SECONDS [SERVER_PID]
//
// All connections are opened first and stay open to the end; each must have its answer.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/process_figures.hpp"

namespace {

using namespace moderato;

struct Connection {
  std::size_t answers = 0;
  std::string head{};       // of the answer under way
  std::size_t missing = 0;  // of its body
  bool in_body = false;
};

/// CPU seconds of another process; 0 if it is not there.
double cpu_seconds_of(int pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(file, text);
  if (text.empty()) return 0;
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string field;
  double ticks = 0;
  for (int number = 3; number <= 15 && fields >> field; ++number) {
    if (number >= 14) ticks += std::stod(field);  // utime, stime
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

class Load {
 public:
  Load(int port, std::size_t connections) : epoll_(epoll_create1(0)), port_(port) {
    const std::string body =
        R"({"model":"echo","messages":[{"role":"user","content":"How are you?"}]})";
    request_ = fmt::format(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
        "application/json\r\nContent-Length: {}\r\n\r\n{}",
        body.size(), body);
    for (std::size_t i = 0; i < connections; ++i) open();
  }

  /// Every connection has had an answer and is open.
  bool all_answer() {
    while (answered_ < open_ && failed_ == 0) turn();
    return failed_ == 0;
  }
  /// Answers in `seconds`.
  std::size_t run(double seconds) {
    const std::size_t before = answers_;
    const double end = bench::wall_seconds() + seconds;
    while (bench::wall_seconds() < end && failed_ == 0) turn();
    return answers_ - before;
  }
  [[nodiscard]] std::size_t open_connections() const noexcept { return open_; }
  [[nodiscard]] std::size_t failed() const noexcept { return failed_; }

 private:
  void open() {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      if (fd >= 0) close(fd);
      ++failed_;
      return;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connections_.size() <= static_cast<std::size_t>(fd)) {
      connections_.resize(static_cast<std::size_t>(fd) + 1);
    }
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    ++open_;
    ask(fd);
  }

  void ask(int fd) {
    if (send(fd, request_.data(), request_.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request_.size())) {
      ++failed_;
    }
  }

  void turn() {
    std::array<epoll_event, 256> events;
    const int count = epoll_wait(epoll_, events.data(), events.size(), 1000);
    for (int i = 0; i < count; ++i) read_from(events[static_cast<std::size_t>(i)].data.fd);
  }

  void read_from(int fd) {
    const ssize_t count = recv(fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (count <= 0) {
      ++failed_;
      return;
    }
    Connection& connection = connections_[static_cast<std::size_t>(fd)];
    std::string_view bytes(buffer_.data(), static_cast<std::size_t>(count));
    if (!connection.in_body) {
      connection.head += bytes;
      const std::size_t end = connection.head.find("\r\n\r\n");
      if (end == std::string::npos) return;
      if (connection.head.compare(0, 12, "HTTP/1.1 200") != 0) ++failed_;
      const std::size_t length = connection.head.find("Content-Length: ");
      connection.missing = std::strtoul(connection.head.c_str() + length + 16, nullptr, 10);
      bytes = std::string_view(connection.head).substr(end + 4);
      connection.missing -= bytes.size();
      connection.in_body = true;
      connection.head.clear();
    } else {
      connection.missing -= bytes.size();
    }
    if (connection.missing > 0) return;
    connection.in_body = false;
    ++answers_;
    if (connection.answers++ == 0) ++answered_;
    ask(fd);
  }

  int epoll_;
  int port_;
  std::string request_;
  std::vector<Connection> connections_;  // by file descriptor
  std::size_t open_ = 0;
  std::size_t answered_ = 0;  // connections with an answer
  std::size_t answers_ = 0;
  std::size_t failed_ = 0;
  std::array<char, 65536> buffer_{};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "usage: bench_provider_load PORT CONNECTIONS SECONDS [SERVER_PID]\n");
    return 2;
  }
  bench::raise_descriptor_limit();
  const int pid = argc > 4 ? std::atoi(argv[4]) : 0;
  Load load(std::atoi(argv[1]), std::strtoul(argv[2], nullptr, 10));
  load.all_answer();
  const double cpu = cpu_seconds_of(pid);
  const double begin = bench::wall_seconds();
  const std::size_t answers = load.run(std::atof(argv[3]));
  const double wall = bench::wall_seconds() - begin;
  fmt::print(
      "{{\"connections\":{},\"requests\":{},\"wall_s\":{:.3f},\"server_cpu_s\":{:.3f},"
      "\"failed\":{}}}\n",
      load.open_connections(), answers, wall, cpu_seconds_of(pid) - cpu, load.failed());
  return load.failed() == 0 ? 0 : 1;
}
