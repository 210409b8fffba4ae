#pragma once

#include <sys/types.h>

#include <string>

namespace moderato::test {

/// A redis-server on a free port of 127.0.0.1, with nothing in it and nothing written to disk. Ends
/// with the object.
class RedisServer {
 public:
  /// False if redis-server is not installed: tests that need it then say so.
  [[nodiscard]] static bool available();

  RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;
  ~RedisServer();

  [[nodiscard]] std::string url() const;
  [[nodiscard]] int port() const noexcept { return port_; }
  /// Kills it: it forgets everything.
  void kill();
  /// Starts it again at the same port, empty. Waits until it answers.
  void start();
  /// Stands still, with its connections open.
  void stop_answering();
  void answer_again();
  /// Runs a command as redis-cli would; the first line of what it says.
  std::string command(const std::string& words) const;

 private:
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace moderato::test
