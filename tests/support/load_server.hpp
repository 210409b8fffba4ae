#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

namespace moderato::test {

struct LoadServerOptions {
  std::string body = "{}";  ///< Of every answer.
  /// Answers are held back until so many requests wait, and then all of them go; 1: at once.
  std::size_t answer_when_waiting = 1;
};

/// A fast HTTP/1.1 server on 127.0.0.1 in a process of its own, so that the CPU time of a measured
/// client is the client's alone. Gives every request the same answer and keeps connections. Make it
/// while the program has one thread: it forks.
class LoadServer {
 public:
  explicit LoadServer(LoadServerOptions options);
  ~LoadServer();  ///< Ends the process.
  LoadServer(const LoadServer&) = delete;
  LoadServer& operator=(const LoadServer&) = delete;

  [[nodiscard]] std::string url() const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/";
  }

 private:
  int port_ = 0;
  pid_t process_ = -1;
};

}  // namespace moderato::test
