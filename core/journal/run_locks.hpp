#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <mutex>
#include <set>
#include <string>

#include <moderato/core/result.hpp>

namespace moderato {

/// Who may write which run of a journal: one lock for each run, held by one process at a time and
/// let go by the system when that process dies. Thread safe.
class RunLocks {
 public:
  /// `path`: a file of its own beside the journal, made if it is not there.
  explicit RunLocks(std::string path) : path_(std::move(path)) {}
  ~RunLocks();
  RunLocks(const RunLocks&) = delete;
  RunLocks& operator=(const RunLocks&) = delete;

  /// True: it is ours now. False: somebody has it, in this process or in another.
  Result<bool> take(std::int64_t run);
  void release(std::int64_t run) noexcept;
  [[nodiscard]] std::size_t held() const;

 private:
  Result<void> open();

  const std::string path_;
  mutable std::mutex mutex_;
  int file_ = -1;
  std::set<std::int64_t> held_;
};

/// "process 4711 on host", for the process that is told that somebody has the run.
[[nodiscard]] std::string this_process();

}  // namespace moderato
