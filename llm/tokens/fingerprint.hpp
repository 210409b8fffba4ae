#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <string_view>

namespace moderato {

/// A 64-bit name for some content, the same in every process and on every machine: FNV-1a over the
/// bytes, each text preceded by its length so that ("ab", "c") and ("a", "bc") differ. Tells
/// different requests apart; no protection against somebody who wants two to look the same.
class Fingerprint {
 public:
  Fingerprint() = default;
  explicit Fingerprint(std::uint64_t start) noexcept : value_(start) {}

  Fingerprint& add(std::string_view text) noexcept {
    add(static_cast<std::uint64_t>(text.size()));
    for (const char c : text) byte(static_cast<unsigned char>(c));
    return *this;
  }
  Fingerprint& add(std::uint64_t number) noexcept {
    for (int shift = 0; shift < 64; shift += 8) byte((number >> shift) & 0xFFU);
    return *this;
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

 private:
  void byte(std::uint64_t b) noexcept { value_ = (value_ ^ b) * 0x100000001B3U; }
  std::uint64_t value_ = 0xCBF29CE484222325U;
};

}  // namespace moderato
