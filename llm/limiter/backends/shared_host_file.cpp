#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <moderato/llm/limiter/backends/shared_host_file.hpp>
#include <optional>
#include <string_view>
#include <utility>

// A file that nobody sees half made
//
// The naive way creates the file, makes it long enough and writes its first state. A process that
// comes in between maps an empty file and dies by SIGBUS, or locks a mutex that is not one yet.
// Here the file is made whole under another name and then gets its own name by link(), which fails
// if there is a file of that name: whoever is late throws its own away and takes the other's.
//
// A file of an earlier boot holds instants of a clock that has started again, and a mutex that a
// thread of that boot may have held. Nobody can be using it, so it is replaced as a whole, by
// rename(); two processes that see it at once agree by flock() on the old file and look again.
//
// Who is alive
//
// A process id says little: it may have been given to another process, and in a container it means
// something else than outside. A lock on a byte of the file (an "open file description lock") ends
// with its holder, however that dies, and every process that can open the file can ask for it. So
// each user of the file holds the lock of one byte ("seat") far behind the file's end. (A child
// made by fork() shares its parent's lock until it calls exec: the descriptor is closed by that.)

namespace moderato {
namespace {

constexpr std::size_t header_size = 4096;
constexpr off_t first_seat = off_t{1} << 40;
constexpr std::uint32_t header_version = 1;
constexpr char magic[16] = "moderato quota\n";

struct Header {
  char magic[16];
  std::uint32_t header_version;
  std::uint32_t layout_version;
  std::uint64_t layout_size;
  char boot[40];
  std::uint64_t check;  // of all before
};
static_assert(sizeof(Header) < header_size);

/// FNV-1a over what never changes.
std::uint64_t check_of(const Header& header) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  std::uint64_t hash = 14695981039346656037U;
  for (std::size_t i = 0; i < offsetof(Header, check); ++i) {
    hash = (hash ^ bytes[i]) * 1099511628211U;
  }
  return hash;
}

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id.substr(0, sizeof(Header::boot) - 1);
}

class Descriptor {
 public:
  explicit Descriptor(int file) noexcept : file_(file) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (file_ >= 0) ::close(file_);
  }
  [[nodiscard]] int get() const noexcept { return file_; }
  [[nodiscard]] int release() noexcept { return std::exchange(file_, -1); }

 private:
  int file_;
};

tl::unexpected<Error> storage_error(const std::string& path, std::string_view doing) {
  return fail(ErrorCode::storage, fmt::format("{}: cannot {} the file of a shared quota: {}", path,
                                              doing, std::strerror(errno)));
}

tl::unexpected<Error> wrong_file(const std::string& path, std::string_view what) {
  return fail(ErrorCode::configuration, fmt::format("{}: {}", path, what));
}

/// Two hosts that map a file over a network do not see each other's writes.
bool on_network(int file) {
  struct statfs info {};
  if (::fstatfs(file, &info) != 0) return false;
  switch (static_cast<std::uint32_t>(info.f_type)) {
    case 0x6969U:      // NFS
    case 0x517BU:      // SMB
    case 0xFE534D42U:  // SMB2
    case 0xFF534D42U:  // CIFS
    case 0x00C36400U:  // Ceph
    case 0x01021997U:  // 9p
      return true;
    default:
      return false;
  }
}

Header header_of(const SharedHostFile::Layout& layout, const std::string& boot) {
  Header header{};
  std::memcpy(header.magic, magic, sizeof(magic));
  header.header_version = header_version;
  header.layout_version = layout.version;
  header.layout_size = layout.size;
  boot.copy(header.boot, sizeof(header.boot) - 1);
  header.check = check_of(header);
  return header;
}

enum class Found : std::uint8_t { usable, of_earlier_boot };

/// Whether the file is one that we may map.
Result<Found> judge(const std::string& path, int file, const SharedHostFile::Layout& layout,
                    const std::string& boot) {
  struct stat info {};
  if (::fstat(file, &info) != 0) return storage_error(path, "look at");
  if (!S_ISREG(info.st_mode)) return wrong_file(path, "is not a file: name another path");
  Header header{};
  const auto got = ::pread(file, &header, sizeof(header), 0);
  if (got < 0) return storage_error(path, "read");
  const bool ours = got >= static_cast<ssize_t>(sizeof(magic)) &&
                    std::memcmp(header.magic, magic, sizeof(magic)) == 0;
  if (!ours) {
    return wrong_file(path,
                      "is not a file of a shared quota, and is left as it is: name another path, "
                      "or delete it if nobody needs it");
  }
  if (header.header_version > header_version || header.layout_version > layout.version) {
    return wrong_file(
        path,
        fmt::format("was made by a newer version (format {}.{}; this one knows "
                    "{}.{}): use the same version in all processes, or another path",
                    header.header_version, header.layout_version, header_version, layout.version));
  }
  const bool whole =
      got == static_cast<ssize_t>(sizeof(header)) && header.check == check_of(header);
  if (!whole) {
    return wrong_file(path, "is damaged (its header): stop what uses it, delete it, start again");
  }
  if (boot != std::string_view(header.boot, strnlen(header.boot, sizeof(header.boot)))) {
    return Found::of_earlier_boot;
  }
  if (header.layout_version != layout.version || header.layout_size != layout.size) {
    return wrong_file(path,
                      "was made by another version or build: use the same one in all processes, or "
                      "stop them all, delete it, start again");
  }
  if (static_cast<std::uint64_t>(info.st_size) != header_size + layout.size) {
    return wrong_file(path,
                      fmt::format("is damaged ({} bytes, not {}): stop what uses it, delete it, "
                                  "start again",
                                  info.st_size, header_size + layout.size));
  }
  return Found::usable;
}

std::byte* map(int file, std::size_t size) noexcept {
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
}

/// Makes the file whole under another name, which is returned.
Result<std::string> make_beside(const std::string& path, const SharedHostFile::Layout& layout,
                                const std::string& boot) {
  std::string name = path + ".new.XXXXXX";
  const Descriptor file(::mkostemp(name.data(), O_CLOEXEC));
  if (file.get() < 0) return storage_error(path, "make");
  const std::size_t size = header_size + layout.size;
  // posix_fallocate: a full disk is found now and not by SIGBUS at some write.
  const int no_room = ::posix_fallocate(file.get(), 0, static_cast<off_t>(size));
  std::byte* mapping = no_room == 0 ? map(file.get(), size) : nullptr;
  if (mapping == nullptr) {
    if (no_room != 0) errno = no_room;
    auto error = storage_error(path, "make room for");
    ::unlink(name.c_str());
    return error;
  }
  layout.make(mapping + header_size);
  const Header header = header_of(layout, boot);
  std::memcpy(mapping, &header, sizeof(header));
  ::munmap(mapping, size);
  return name;
}

/// Puts a fresh file in the place of `old` (-1: there is none). If somebody else was quicker,
/// nothing happens, and nothing is wrong.
Result<void> put_in_place(const std::string& path, int old, const SharedHostFile::Layout& layout,
                          const std::string& boot) {
  auto made = make_beside(path, layout, boot);
  if (!made) return fail(std::move(made.error()));
  if (old < 0) {
    const int linked = ::link(made->c_str(), path.c_str());
    const int why = errno;
    ::unlink(made->c_str());
    errno = why;
    if (linked != 0 && why != EEXIST) return storage_error(path, "make");
    return {};
  }
  ::flock(old, LOCK_EX);
  struct stat seen {};
  struct stat there {};
  const bool same = ::fstat(old, &seen) == 0 && ::stat(path.c_str(), &there) == 0 &&
                    seen.st_ino == there.st_ino && seen.st_dev == there.st_dev;
  const bool failed = same && ::rename(made->c_str(), path.c_str()) != 0;
  auto error = storage_error(path, "replace");
  if (!same || failed) ::unlink(made->c_str());
  ::flock(old, LOCK_UN);
  if (failed) return error;
  return {};
}

struct flock seat_lock(std::size_t seat, int type) {
  struct flock lock {};
  lock.l_type = static_cast<short>(type);
  lock.l_whence = SEEK_SET;
  lock.l_start = first_seat + static_cast<off_t>(seat);
  lock.l_len = 1;
  return lock;
}

}  // namespace

SharedHostFile::SharedHostFile(std::string path, int file, std::byte* mapping,
                               std::size_t size) noexcept
    : path_(std::move(path)),
      file_(file),
      mapping_(mapping),
      size_(size),
      data_(mapping + header_size) {}

SharedHostFile::~SharedHostFile() {
  ::munmap(mapping_, size_);
  ::close(file_);
}

Result<std::shared_ptr<SharedHostFile>> SharedHostFile::open(const std::string& path,
                                                             const Layout& layout) {
  return attach(path, layout, true);
}

Result<std::shared_ptr<SharedHostFile>> SharedHostFile::open_existing(const std::string& path,
                                                                      const Layout& layout) {
  return attach(path, layout, false);
}

Result<std::shared_ptr<SharedHostFile>> SharedHostFile::attach(const std::string& path,
                                                               const Layout& layout,
                                                               bool may_make) {
  const std::string boot = layout.boot.empty() ? boot_id() : layout.boot;
  for (int tries = 0; tries < 100; ++tries) {
    Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (file.get() < 0 && errno != ENOENT) return storage_error(path, "open");
    if (file.get() >= 0) {
      if (on_network(file.get())) {
        return wrong_file(path,
                          "is on a network file system, where processes of several hosts would not "
                          "see each other: name a local path, or use redis()");
      }
      const auto found = judge(path, file.get(), layout, boot);
      if (!found) return fail(found.error());
      if (*found == Found::usable) {
        const std::size_t size = header_size + layout.size;
        std::byte* mapping = map(file.get(), size);
        if (mapping == nullptr) return storage_error(path, "map");
        return std::shared_ptr<SharedHostFile>(
            new SharedHostFile(path, file.release(), mapping, size));
      }
    }
    if (!may_make) {
      return fail(ErrorCode::not_found,
                  fmt::format("{}: there is no shared quota{}", path,
                              file.get() < 0 ? "" : " in use since this host was started"));
    }
    const auto placed = put_in_place(path, file.get(), layout, boot);
    if (!placed) return fail(placed.error());
  }
  return wrong_file(path, "is being deleted again and again by somebody");
}

bool SharedHostFile::take_seat(std::size_t seat) noexcept {
  struct flock lock = seat_lock(seat, F_WRLCK);
  return ::fcntl(file_, F_OFD_SETLK, &lock) == 0;
}

void SharedHostFile::leave_seat(std::size_t seat) noexcept {
  struct flock lock = seat_lock(seat, F_UNLCK);
  ::fcntl(file_, F_OFD_SETLK, &lock);
}

bool SharedHostFile::seat_taken_elsewhere(std::size_t seat) const noexcept {
  struct flock lock = seat_lock(seat, F_WRLCK);
  return ::fcntl(file_, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

}  // namespace moderato
