#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <utility>

namespace moderato::test {

/// A forked process that runs `f` and exits with its result. Killed and waited for by the
/// destructor, if it still runs.
class ChildProcess {
 public:
  explicit ChildProcess(const std::function<int()>& f) : pid_(::fork()) {
    if (pid_ < 0) std::abort();
    if (pid_ == 0) ::_exit(f());
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess() { kill(); }

  void kill() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    wait();
  }
  /// Its exit code, or minus the signal that killed it.
  int wait() {
    if (pid_ <= 0) return code_;
    int status = 0;
    while (::waitpid(std::exchange(pid_, -1), &status, 0) < 0) {
    }
    return code_ = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_;
  int code_ = 0;
};

/// Where one process tells another something, one int at a time.
class Pipe {
 public:
  Pipe() {
    if (::pipe(ends_) != 0) std::abort();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  void send(int value) {
    if (::write(ends_[1], &value, sizeof(value)) != sizeof(value)) std::abort();
  }
  /// Blocks until something comes.
  int receive() {
    int value = -1;
    if (::read(ends_[0], &value, sizeof(value)) != sizeof(value)) std::abort();
    return value;
  }

 private:
  int ends_[2]{};
};

}  // namespace moderato::test
