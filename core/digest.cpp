#include <moderato/core/digest.hpp>

#include <fmt/format.h>

namespace moderato {

void Digest::bytes(std::string_view text) noexcept {
  constexpr std::uint64_t prime = 0x100000001b3U;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    lanes_[0] = (lanes_[0] ^ byte) * prime;
    lanes_[1] = (lanes_[1] ^ (byte + 0x9eU)) * prime;
    lanes_[1] ^= lanes_[1] >> 29U;
  }
}

Digest& Digest::add(std::uint64_t number) noexcept {
  for (unsigned shift = 0; shift < 64; shift += 8) {
    const char byte = static_cast<char>((number >> shift) & 0xffU);
    bytes({&byte, 1});
  }
  return *this;
}

Digest& Digest::add(std::string_view text) noexcept {
  add(text.size());
  bytes(text);
  return *this;
}

std::string Digest::hex() const {
  return fmt::format("{:016x}{:016x}", lanes_[0], lanes_[1]);
}

}  // namespace moderato
