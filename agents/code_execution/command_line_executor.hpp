#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <moderato/agents/code_execution/code_executor.hpp>
#include <moderato/core/time.hpp>

namespace moderato {

/// What stands between code and the machine.
enum class Isolation : std::uint8_t {
  /// Bubblewrap: no network, nothing of the machine but its programs (read-only) and the work
  /// folder. Where it cannot be had, code is refused, not run without it.
  sandbox,
  /// A fresh container for each block, made by the command of a container engine.
  container,
  /// Nothing: whatever the user of this program may do, the code may do. For code that you trust
  /// as your own.
  unsandboxed,
};

struct CommandLineOptions {
  /// Where code is written to and run. Empty: a fresh folder for temporary files, removed with the
  /// executor. All sessions that use the executor share it, so give each tenant an executor of its
  /// own. Its size as a whole is not bounded.
  std::filesystem::path work_dir{};
  Isolation isolation = Isolation::sandbox;
  /// Of each block, in real time; longer: "Timeout", exit code 124.
  Duration timeout = std::chrono::seconds(60);
  /// Of each block; a program that writes more is ended.
  std::size_t max_output_bytes = 100'000;
  /// Of each process, so that a sandbox may have so much `max_processes` times (of all together in
  /// a container); 0: no limit.
  std::uint64_t max_memory_bytes = 2ULL << 30U;
  /// Of each file; 0: no limit.
  std::uint64_t max_file_bytes = 256ULL << 20U;
  /// At one time; a program with more is ended, at the latest a moment later. 0: no limit.
  std::size_t max_processes = 64;
  /// All that the code sees of an environment, HOME (the work folder) aside: nothing is inherited.
  std::map<std::string, std::string> environment{{"PATH", "/usr/local/bin:/usr/bin:/bin"},
                                                 {"LANG", "C.UTF-8"}};
  bool network = false;  ///< In a sandbox or a container.
  /// Further folders that a sandbox shows, read-only.
  std::vector<std::filesystem::path> readable{};
  std::string bubblewrap = "bwrap";         ///< Name or path.
  std::string container_engine = "docker";  ///< Or "podman"; name or path.
  std::string container_image = "python:3-slim";
  /// The output as AutoGen's older built-in runner words it: for each block a line end and its
  /// standard output, or of one that failed its standard error; a timeout has exit code 1.
  bool legacy_output = false;
};

/// Runs code as programs of its own: Python, sh, bash, C++ (compiled with g++); JavaScript, HTML
/// and CSS are saved only. Output and exit codes are AutoGen's: of each block what it wrote to
/// standard error, then to standard output; the first block that fails is the last; an unknown
/// language is exit code 1. A first line `# filename: NAME` names the file.
///
/// Each block is a process group with an empty standard input and is killed as a whole when its
/// first process has ended, its time is up, or the chat is stopped. Outside a sandbox a process
/// that leaves its group lives on.
///
/// Errors of execute(): configuration (no sandbox, no container engine, no interpreter), and
/// invalid_request for shell code that AutoGen's list calls dangerous (unsandboxed only).
///
/// Throws std::invalid_argument: the work folder cannot be made, or a limit makes no sense.
[[nodiscard]] std::shared_ptr<CodeExecutor> command_line_executor(CommandLineOptions options = {});

}  // namespace moderato
