#include <moderato/core/journal/run_locks.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

// A lease in the database would have to expire before a run whose process was killed can be
// resumed, and a process that was only slow would find its run taken. The system knows exactly who
// lives: each run is one byte of a lock file, and its lock ends with the process, at once, however
// it ended. The locks are those of the open file (F_OFD_SETLK), not of the process: closing some
// other descriptor of the file does not drop them, and two journals in one process exclude each
// other, too. SQLite itself works on one host only (in WAL mode), so a lock of the host is enough.

namespace moderato {
namespace {

int set_lock(int file, short type, std::int64_t run) noexcept {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = run;
  lock.l_len = 1;
  return ::fcntl(file, F_OFD_SETLK, &lock);
}

}  // namespace

RunLocks::~RunLocks() {
  if (file_ >= 0) ::close(file_);
}

Result<void> RunLocks::open() {
  if (file_ >= 0) return {};
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ >= 0) return {};
  return fail(ErrorCode::storage,
              fmt::format("journal: {} cannot be opened: {}", path_, std::strerror(errno)));
}

Result<bool> RunLocks::take(std::int64_t run) {
  const std::scoped_lock lock(mutex_);
  if (auto opened = open(); !opened) return tl::unexpected<Error>(std::move(opened).error());
  if (held_.count(run) != 0) return false;
  if (set_lock(file_, F_WRLCK, run) == 0) {
    held_.insert(run);
    return true;
  }
  if (errno == EAGAIN || errno == EACCES) return false;
  return fail(ErrorCode::storage,
              fmt::format("journal: {} cannot be locked: {}", path_, std::strerror(errno)));
}

void RunLocks::release(std::int64_t run) noexcept {
  const std::scoped_lock lock(mutex_);
  if (held_.erase(run) != 0) set_lock(file_, F_UNLCK, run);
}

std::size_t RunLocks::held() const {
  const std::scoped_lock lock(mutex_);
  return held_.size();
}

std::string this_process() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("process {} on {}", ::getpid(), host.data());
}

}  // namespace moderato
