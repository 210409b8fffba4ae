#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <moderato/core/result.hpp>

namespace moderato {

/// A file of fixed size that the processes of one host map into their memory, with what is needed
/// to trust it: it is never seen half made, it is known to be ours, of this layout and of this boot
/// (monotonic clocks start again with each), and it has locks that tell who of its users is alive.
///
/// Unmapped and closed by its destructor; the file stays. Thread safe.
class SharedHostFile {
 public:
  /// What the bytes after the header are.
  struct Layout {
    std::uint32_t version = 1;  ///< Of the meaning; raised by hand.
    std::size_t size = 0;       ///< Bytes.
    /// Writes the first state. Called on zeroed memory, before anybody else can see it.
    std::function<void(std::byte*)> make{};
    std::string boot{};  ///< Names the boot; empty: the kernel's id of this one.
  };

  /// Opens the file, making it if there is none or if it is of an earlier boot. Errors: storage
  /// (cannot be opened, made or mapped), configuration (on a network file system, not ours, of
  /// another version, damaged); the text says what to do. A file that is not ours is left alone.
  [[nodiscard]] static Result<std::shared_ptr<SharedHostFile>> open(const std::string& path,
                                                                    const Layout& layout);
  /// Only an existing file, for looking; `not_found` if there is none, or only one of an earlier
  /// boot.
  [[nodiscard]] static Result<std::shared_ptr<SharedHostFile>> open_existing(
      const std::string& path, const Layout& layout);
  SharedHostFile(const SharedHostFile&) = delete;
  SharedHostFile& operator=(const SharedHostFile&) = delete;
  ~SharedHostFile();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Seats: numbered locks, each held by at most one SharedHostFile object. The kernel releases
  /// them when their holder's process dies, however it dies.
  [[nodiscard]] bool take_seat(std::size_t seat) noexcept;
  void leave_seat(std::size_t seat) noexcept;
  /// True if another SharedHostFile object, here or in another process, holds it.
  [[nodiscard]] bool seat_taken_elsewhere(std::size_t seat) const noexcept;

 private:
  SharedHostFile(std::string path, int file, std::byte* mapping, std::size_t size) noexcept;
  [[nodiscard]] static Result<std::shared_ptr<SharedHostFile>> attach(const std::string& path,
                                                                      const Layout& layout,
                                                                      bool may_make);

  std::string path_;
  int file_;
  std::byte* mapping_;
  std::size_t size_;
  std::byte* data_;
};

}  // namespace moderato
