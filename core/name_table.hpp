#pragma once

// Private header of the library: not installed.

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace moderato {

/// Names of an enumeration whose values are 0, 1, 2, …: the one place for both directions.
template <class Enum, std::size_t N>
struct NameTable {
  std::array<std::string_view, N> names;

  [[nodiscard]] constexpr std::string_view name_of(Enum value) const noexcept {
    const auto index = static_cast<std::size_t>(value);
    return index < N ? names[index] : std::string_view("unknown");
  }
  [[nodiscard]] constexpr std::optional<Enum> value_of(std::string_view name) const noexcept {
    for (std::size_t index = 0; index < N; ++index) {
      if (names[index] == name) return static_cast<Enum>(index);
    }
    return std::nullopt;
  }
};

}  // namespace moderato
