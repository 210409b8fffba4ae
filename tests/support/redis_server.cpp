#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <support/redis_server.hpp>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace moderato::test {
namespace {

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof(address);
  if (::bind(socket, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no free port");
  }
  ::close(socket);
  return ntohs(address.sin_port);
}

}  // namespace

bool RedisServer::available() {
  return ::access("/usr/bin/redis-server", X_OK) == 0 ||
         ::access("/usr/local/bin/redis-server", X_OK) == 0;
}

RedisServer::RedisServer() : port_(free_port()) {
  start();
}

RedisServer::~RedisServer() {
  kill();
}

std::string RedisServer::url() const {
  return "redis://127.0.0.1:" + std::to_string(port_);
}

/// It writes to a pipe; when the line "Ready to accept connections" has come, it answers.
void RedisServer::start() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    const std::string port = std::to_string(port_);
    ::execlp("redis-server", "redis-server", "--port", port.c_str(), "--bind", "127.0.0.1",
             "--save", "", "--appendonly", "no", "--dir", "/tmp", nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  std::string said;
  char buffer[512];
  while (said.find("Ready to accept connections") == std::string::npos) {
    const auto got = ::read(ends[0], buffer, sizeof(buffer));
    if (got <= 0) throw std::runtime_error("redis-server does not start: " + said);
    said.append(buffer, static_cast<std::size_t>(got));
  }
}

void RedisServer::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void RedisServer::stop_answering() {
  ::kill(pid_, SIGSTOP);
}
void RedisServer::answer_again() {
  ::kill(pid_, SIGCONT);
}

std::string RedisServer::command(const std::string& words) const {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port_);
  std::string reply;
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string line = words + "\r\n";
    char byte = 0;
    if (::write(socket, line.data(), line.size()) == static_cast<ssize_t>(line.size())) {
      while (::read(socket, &byte, 1) == 1 && byte != '\n') reply.push_back(byte);
    }
  }
  ::close(socket);
  return reply;
}

}  // namespace moderato::test
