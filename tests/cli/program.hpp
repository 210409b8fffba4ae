#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

/// How a program ended and what it printed.
struct Ended {
  int code = -1;  ///< Exit code; 128 + the signal that killed it.
  std::string out;
  std::string err;
};

/// A process that runs the `moderato` program, with standard input from a text and without the
/// OPENAI_* and proxy variables of this process. Killed, if it still runs, at the end of its life
/// here.
class Program {
 public:
  struct Options {
    std::string input{};
    std::vector<std::string> environment{};  ///< "NAME=value"
  };

  explicit Program(const std::vector<std::string>& arguments) : Program(arguments, Options()) {}
  Program(const std::vector<std::string>& arguments, const Options& options);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Waits until `text` has come on standard output; false if the output ended without it.
  bool printed(std::string_view text);
  void signal(int number) const;
  Ended wait();

 private:
  bool read_more();

  pid_t process_ = -1;
  int out_ = -1;
  int err_ = -1;
  std::string read_;
};

/// Runs `moderato` with these arguments to its end.
inline Ended run(const std::vector<std::string>& arguments, const Program::Options& options = {}) {
  return Program(arguments, options).wait();
}
