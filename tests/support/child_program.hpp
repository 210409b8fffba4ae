#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <moderato/core/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace moderato::test {

/// A program that runs beside this one and prints lines of JSON. Wait for it before it goes.
class ChildProgram {
 public:
  struct Ended {
    int status = 0;
    std::vector<Json> lines;
    [[nodiscard]] bool killed() const { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }
    [[nodiscard]] int code() const { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
  };

  /// `quiet`: what it says on stderr is thrown away.
  explicit ChildProgram(const std::string& program, std::vector<std::string> arguments,
                        bool quiet = false) {
    arguments.insert(arguments.begin(), program);
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    std::array<int, 2> out{};
    if (::pipe2(out.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    if (quiet) {
      ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    }
    const int failed =
        ::posix_spawn(&process_, program.c_str(), &actions, nullptr, pointers.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(out[1]);
    out_ = out[0];
    if (failed != 0) throw std::runtime_error("cannot start " + program);
  }
  ~ChildProgram() { ::close(out_); }
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;

  void signal(int number) const { ::kill(process_, number); }
  /// Waits for the first line and gives it; what there is, if it ends before.
  std::string wait_for_line() {
    while (text_.find('\n') == std::string::npos && read_more()) {
    }
    return text_.substr(0, text_.find('\n'));
  }
  Ended wait() {
    while (read_more()) {
    }
    Ended ended;
    ::waitpid(process_, &ended.status, 0);
    for (std::size_t begin = 0, end = 0; (end = text_.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      if (auto line = parse_json(text_.substr(begin, end - begin))) ended.lines.push_back(*line);
    }
    return ended;
  }

 private:
  bool read_more() {
    std::array<char, 4096> buffer{};
    const ssize_t count = ::read(out_, buffer.data(), buffer.size());
    if (count > 0) text_.append(buffer.data(), static_cast<std::size_t>(count));
    return count > 0;
  }
  pid_t process_ = -1;
  int out_ = -1;
  std::string text_;
};

}  // namespace moderato::test
