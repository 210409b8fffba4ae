#pragma once

#include <limits>
#include <string_view>
#include <tuple>
#include <type_traits>

namespace moderato {

/// What a type is called towards models: said once, it serves the JSON Schema, the reading of
/// arguments and the writing of results. Specialise it for your enums and aggregates:
///
///     enum class Unit { celsius, fahrenheit };
///     template <> struct moderato::Describe<Unit> {
///       static constexpr auto values = std::tuple{enumerator("celsius", Unit::celsius),
///                                                 enumerator("fahrenheit", Unit::fahrenheit)};
///     };
///
///     struct Point { double x = 0, y = 0; std::optional<std::string> label; };
///     template <> struct moderato::Describe<Point> {
///       static constexpr auto fields = std::tuple{field("x", &Point::x, "Metres east"),
///                                                 field("y", &Point::y, "Metres north"),
///                                                 field("label", &Point::label)};
///     };
///
/// An aggregate must be default constructible. A std::optional field may be left out, and so may
/// one that is marked `.may_be_absent()`: it keeps the value that a fresh object has.
template <class T>
struct Describe {};

/// Inclusive bounds of a number; infinite where there is none.
struct NumberRange {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
};

template <class Owner, class Member>
struct Field {
  std::string_view name;
  Member Owner::*member;
  std::string_view description{};
  bool absent_allowed = false;
  NumberRange range{};

  [[nodiscard]] constexpr Field may_be_absent() const {
    Field changed = *this;
    changed.absent_allowed = true;
    return changed;
  }
  /// Bounds of a number, both inclusive.
  [[nodiscard]] constexpr Field between(double least, double most) const {
    static_assert(std::is_arithmetic_v<Member>, "between() is for numbers");
    Field changed = *this;
    changed.range = {least, most};
    return changed;
  }
};

template <class Owner, class Member>
[[nodiscard]] constexpr Field<Owner, Member> field(std::string_view name, Member Owner::*member,
                                                   std::string_view description = {}) {
  return {name, member, description};
}

template <class Enum>
struct Enumerator {
  std::string_view name;
  Enum value;
};

template <class Enum>
[[nodiscard]] constexpr Enumerator<Enum> enumerator(std::string_view name, Enum value) {
  return {name, value};
}

template <class T>
concept DescribedAggregate = std::is_class_v<T> && requires {
  Describe<T>::fields;
};
template <class T>
concept DescribedEnum = std::is_enum_v<T> && requires {
  Describe<T>::values;
};

}  // namespace moderato
