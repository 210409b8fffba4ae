#include "program.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <stdexcept>

namespace {

int file_with(std::string_view text) {
  const int file = ::memfd_create("moderato-test", MFD_CLOEXEC);
  if (file < 0 || ::write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw std::runtime_error("cannot make a file in memory");
  }
  ::lseek(file, 0, SEEK_SET);
  return file;
}

std::string text_of(int file) {
  std::string text(static_cast<std::size_t>(::lseek(file, 0, SEEK_END)), '\0');
  text.resize(
      static_cast<std::size_t>(std::max<ssize_t>(0, ::pread(file, text.data(), text.size(), 0))));
  return text;
}

/// This process's environment without what would change the program's behaviour.
std::vector<std::string> clean_environment() {
  std::vector<std::string> kept;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    const std::string_view name = variable.substr(0, variable.find('='));
    if (name.substr(0, 7) != "OPENAI_" && name.find("proxy") == std::string_view::npos &&
        name.find("PROXY") == std::string_view::npos) {
      kept.emplace_back(variable);
    }
  }
  return kept;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Program::Program(const std::vector<std::string>& arguments, const Options& options) {
  std::vector<std::string> command{MODERATO_PROGRAM};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = clean_environment();
  environment.insert(environment.end(), options.environment.begin(), options.environment.end());

  std::array<int, 2> out{};
  if (::pipe2(out.data(), O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
  const int in = file_with(options.input);
  err_ = file_with("");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err_, STDERR_FILENO);
  const int failure = ::posix_spawn(&process_, MODERATO_PROGRAM, &actions, nullptr,
                                    pointers_to(command).data(), pointers_to(environment).data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(in);
  ::close(out[1]);
  out_ = out[0];
  if (failure != 0) throw std::runtime_error("cannot start " MODERATO_PROGRAM);
}

Program::~Program() {
  if (process_ > 0) {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  ::close(out_);
  ::close(err_);
}

bool Program::read_more() {
  std::array<char, 4096> buffer{};
  const ssize_t count = ::read(out_, buffer.data(), buffer.size());
  if (count > 0) read_.append(buffer.data(), static_cast<std::size_t>(count));
  return count > 0;
}

bool Program::printed(std::string_view text) {
  while (read_.find(text) == std::string::npos) {
    if (!read_more()) return false;
  }
  return true;
}

void Program::signal(int number) const {
  ::kill(process_, number);
}

Ended Program::wait() {
  while (read_more()) {
  }
  int status = 0;
  ::waitpid(process_, &status, 0);
  process_ = -1;
  return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = std::move(read_),
          .err = text_of(err_)};
}
