#pragma once

// Private header of the library: not installed.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace moderato {

/// A text of at most N bytes without a pointer in it, so that what holds it can be copied byte by
/// byte into shared memory. What is longer is cut.
template <std::size_t N>
class ShortText {
 public:
  ShortText() = default;
  ShortText(std::string_view text) noexcept : size_(std::min(text.size(), N)) {  // NOLINT
    std::copy_n(text.data(), size_, bytes_.data());
  }
  ShortText(const std::string& text) noexcept : ShortText(std::string_view(text)) {}  // NOLINT
  ShortText(const char* text) noexcept : ShortText(std::string_view(text)) {}         // NOLINT

  /// The size is checked again: the bytes may come from a damaged file.
  [[nodiscard]] std::string_view view() const noexcept {
    return {bytes_.data(), std::min(size_, N)};
  }
  [[nodiscard]] std::string str() const { return std::string(view()); }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  friend bool operator==(const ShortText& left, std::string_view right) noexcept {
    return left.view() == right;
  }

 private:
  std::size_t size_ = 0;
  std::array<char, N> bytes_{};
};

}  // namespace moderato
