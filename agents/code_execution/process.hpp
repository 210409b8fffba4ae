#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include <moderato/core/result.hpp>
#include <moderato/core/time.hpp>

namespace moderato {

struct ProcessLimits {
  Duration timeout{};                  ///< Of real time; zero: none.
  std::size_t max_output_bytes = 0;    ///< Of both streams together; 0: no limit.
  std::uint64_t max_memory_bytes = 0;  ///< Of each process; 0: no limit.
  std::uint64_t max_file_bytes = 0;    ///< Of each file; 0: no limit.
  std::size_t max_processes = 0;       ///< 0: no limit.
};

struct ProcessSpec {
  std::vector<std::string> command{};  ///< The program by its whole path, and its arguments.
  std::map<std::string, std::string> environment{};  ///< Nothing else is passed on.
  std::filesystem::path folder{};
  ProcessLimits limits{};
};

enum class ProcessEnd : std::uint8_t {
  exited,
  timed_out,
  too_much_output,
  too_many_processes,
  cancelled
};

struct ProcessResult {
  ProcessEnd end = ProcessEnd::exited;
  int exit_code = 0;  ///< 128 + the signal if one ended it.
  std::string out{};
  std::string err{};
};

/// Runs a program in a process group of its own, with an empty standard input, and waits for it.
/// When it has ended, or its time is up, it has written too much, has too many descendants, or
/// `stop` is triggered, the whole group is killed. Blocks the thread. Error configuration: it could
/// not be started.
[[nodiscard]] Result<ProcessResult> run_process(const ProcessSpec& spec,
                                                const std::stop_token& stop);

/// The whole path of a program in a list of folders ("/usr/bin:/bin"); empty: there is none.
[[nodiscard]] std::string find_program(const std::string& name, const std::string& folders);

/// Living descendants of a process, found in /proc; stops counting at `enough`.
[[nodiscard]] std::size_t count_descendants(int process, std::size_t enough);

}  // namespace moderato
