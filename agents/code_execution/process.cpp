#include <moderato/agents/code_execution/process.hpp>

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

#include <moderato/agents/code_execution/descriptor.hpp>
#include <moderato/agents/stop_signal.hpp>

// A program that may do anything but harm
//
// The program is given a process group of its own, and whatever ends the run kills the group: what
// it started in the background goes with it. (What leaves the group as well goes on outside a
// sandbox; inside one the whole process namespace dies.) Between fork and exec only calls that are
// safe after a fork of a process with threads are made; all memory they need is prepared before.

namespace moderato {
namespace {

constexpr int look_every_ms = 100;

struct Prepared {
  std::vector<char*> argv;
  std::vector<std::string> environment_text;
  std::vector<char*> environment;

  explicit Prepared(const ProcessSpec& spec) {
    for (const std::string& word : spec.command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    for (const auto& [name, value] : spec.environment)
      environment_text.push_back(name + '=' + value);
    for (std::string& text : environment_text) environment.push_back(text.data());
    environment.push_back(nullptr);
  }
};

void limit(int resource, std::uint64_t most) {
  if (most == 0) return;
  const rlimit bound{most, most};
  ::setrlimit(static_cast<__rlimit_resource>(resource), &bound);
}

// In the child. What fails is told to the parent as an errno, unless the exec closes the pipe.
[[noreturn]] void become(const ProcessSpec& spec, const Prepared& prepared, int out, int err,
                         int failure) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  const int null = ::open("/dev/null", O_RDONLY);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  limit(RLIMIT_AS, spec.limits.max_memory_bytes);
  limit(RLIMIT_FSIZE, spec.limits.max_file_bytes);
  if (null >= 0 && ::dup2(null, STDIN_FILENO) >= 0 && ::dup2(out, STDOUT_FILENO) >= 0 &&
      ::dup2(err, STDERR_FILENO) >= 0 && ::chdir(spec.folder.c_str()) == 0) {
    ::execve(prepared.argv[0], prepared.argv.data(), prepared.environment.data());
  }
  const int why = errno;
  [[maybe_unused]] const auto told = ::write(failure, &why, sizeof why);
  ::_exit(127);
}

class RunningProcess {
 public:
  explicit RunningProcess(const ProcessSpec& spec) : spec_(spec) {}
  RunningProcess(const RunningProcess&) = delete;
  RunningProcess& operator=(const RunningProcess&) = delete;
  ~RunningProcess() {
    if (pid_ <= 0) return;
    kill_group();
    reap();
  }

  Result<void> start();
  ProcessResult watch(const StopSignal& stop);

 private:
  void kill_group() const { ::kill(-pid_, SIGKILL); }
  void reap();
  [[nodiscard]] bool take(Descriptor& from, std::string& into);
  [[nodiscard]] bool too_many_processes() const;
  [[nodiscard]] ProcessEnd wait_for_end(const StopSignal& stop);

  const ProcessSpec& spec_;
  pid_t pid_ = -1;
  Descriptor out_;
  Descriptor err_;
  Descriptor ended_;
  Descriptor timer_;
  Descriptor counting_;  // ticks when the processes are to be counted
  ProcessResult result_;
  bool too_much_ = false;
};

Result<void> RunningProcess::start() {
  const auto failed = [&](const char* step) {
    return fail(ErrorCode::configuration,
                fmt::format("{} cannot be started: {}: {}", spec_.command.front(), step,
                            std::generic_category().message(errno)));
  };
  Descriptor out_write;
  Descriptor err_write;
  Descriptor failure_read;
  Descriptor failure_write;
  if (!make_pipe(out_, out_write) || !make_pipe(err_, err_write) ||
      !make_pipe(failure_read, failure_write)) {
    return failed("pipe");
  }
  timer_ = Descriptor(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  counting_ = Descriptor(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (timer_.get() < 0 || counting_.get() < 0) return failed("timerfd_create");
  const Prepared prepared(spec_);
  pid_ = ::fork();
  if (pid_ < 0) return failed("fork");
  if (pid_ == 0) {
    become(spec_, prepared, out_write.get(), err_write.get(), failure_write.get());
  }
  ::setpgid(pid_, pid_);  // whoever comes first
  out_write.reset();
  err_write.reset();
  failure_write.reset();
  int why = 0;
  if (::read(failure_read.get(), &why, sizeof why) == sizeof why) {
    reap();
    errno = why;
    return failed("exec");
  }
  ended_ = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (ended_.get() < 0) return failed("pidfd_open");
  ::fcntl(out_.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(err_.get(), F_SETFL, O_NONBLOCK);
  return {};
}

void RunningProcess::reap() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  result_.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  pid_ = -1;
}

// Reads what is there. False: nothing more will come.
bool RunningProcess::take(Descriptor& from, std::string& into) {
  std::array<char, 16384> buffer{};
  for (;;) {
    const ssize_t got = ::read(from.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN;
    if (got == 0) return false;
    const std::size_t most = spec_.limits.max_output_bytes;
    const std::size_t held = result_.out.size() + result_.err.size();
    auto taken = static_cast<std::size_t>(got);
    if (most > 0 && held + taken > most) {
      too_much_ = true;
      taken = most - std::min(held, most);
    }
    into.append(buffer.data(), taken);
    if (too_much_) return false;
  }
}

bool RunningProcess::too_many_processes() const {
  const std::size_t most = spec_.limits.max_processes;
  return most > 0 && count_descendants(pid_, most + 1) > most;
}

ProcessEnd RunningProcess::wait_for_end(const StopSignal& stop) {
  bool out_open = true;
  bool err_open = true;
  for (;;) {
    std::array<pollfd, 6> waits{{{ended_.get(), POLLIN, 0},
                                 {timer_.get(), POLLIN, 0},
                                 {stop.fd(), POLLIN, 0},
                                 {out_open ? out_.get() : -1, POLLIN, 0},
                                 {err_open ? err_.get() : -1, POLLIN, 0},
                                 {counting_.get(), POLLIN, 0}}};
    const int ready = ::poll(waits.data(), waits.size(), -1);
    if (ready < 0 && errno != EINTR) return ProcessEnd::cancelled;
    if (waits[2].revents != 0) return ProcessEnd::cancelled;
    if (out_open && waits[3].revents != 0) out_open = take(out_, result_.out);
    if (err_open && waits[4].revents != 0) err_open = take(err_, result_.err);
    if (too_much_) return ProcessEnd::too_much_output;
    if (waits[0].revents != 0) return ProcessEnd::exited;
    if (waits[1].revents != 0) return ProcessEnd::timed_out;
    std::uint64_t ticks = 0;  // however much it says meanwhile
    if (waits[5].revents != 0 && ::read(counting_.get(), &ticks, sizeof ticks) > 0 &&
        too_many_processes()) {
      return ProcessEnd::too_many_processes;
    }
  }
}

ProcessResult RunningProcess::watch(const StopSignal& stop) {
  if (spec_.limits.timeout > Duration::zero()) {
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(spec_.limits.timeout);
    itimerspec at{};
    at.it_value.tv_sec = whole.count();
    at.it_value.tv_nsec =
        std::chrono::duration_cast<std::chrono::nanoseconds>(spec_.limits.timeout - whole).count();
    ::timerfd_settime(timer_.get(), 0, &at, nullptr);
  }
  if (spec_.limits.max_processes > 0) {
    itimerspec each{};
    each.it_value.tv_nsec = each.it_interval.tv_nsec = look_every_ms * 1'000'000;
    ::timerfd_settime(counting_.get(), 0, &each, nullptr);
  }
  const ProcessEnd end = wait_for_end(stop);
  kill_group();  // what it left behind, too
  reap();
  // What was written before the end. Nobody is waited for: what has left the group may hold the
  // pipe for ever.
  if (!too_much_) static_cast<void>(take(out_, result_.out));
  if (!too_much_) static_cast<void>(take(err_, result_.err));
  result_.end = end == ProcessEnd::exited && too_much_ ? ProcessEnd::too_much_output : end;
  return std::move(result_);
}

}  // namespace

Result<ProcessResult> run_process(const ProcessSpec& spec, const std::stop_token& stop) {
  const StopSignal signal(stop);
  RunningProcess process(spec);
  if (auto started = process.start(); !started) return fail(std::move(started).error());
  return process.watch(signal);
}

std::string find_program(const std::string& name, const std::string& folders) {
  if (name.find('/') != std::string::npos) return name;
  for (std::size_t at = 0; at <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    const std::string path = folders.substr(at, end - at) + '/' + name;
    if (path.size() > name.size() + 1 && ::access(path.c_str(), X_OK) == 0) return path;
    at = end + 1;
  }
  return {};
}

}  // namespace moderato
