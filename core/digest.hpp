#pragma once

// Private header of the library: not installed.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace moderato {

/// A 128-bit content hash (FNV-1a, two lanes with different offsets), for telling whether two
/// requests are the same. Stable over versions and machines. Not cryptographic: do not use it
/// against somebody who wants collisions.
class Digest {
 public:
  /// Adds a text and its length, so that ("ab", "c") and ("a", "bc") differ.
  Digest& add(std::string_view text) noexcept;
  Digest& add(std::uint64_t number) noexcept;
  /// 32 hexadecimal digits.
  [[nodiscard]] std::string hex() const;

 private:
  void bytes(std::string_view text) noexcept;
  std::array<std::uint64_t, 2> lanes_{0xcbf29ce484222325U, 0x84222325cbf29ce4U};
};

}  // namespace moderato
