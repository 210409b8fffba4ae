#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <moderato/agents/describe.hpp>
#include <moderato/agents/tool_json.hpp>
#include <moderato/agents/tool_schema.hpp>
#include <moderato/core/json.hpp>

namespace moderato {

/// How values of a type travel between a model and a tool. There are types for bool, integers,
/// floating point numbers, texts, Json (anything), std::optional, std::vector, maps with
/// std::string keys, and for enums and aggregates that Describe describes. A specialisation of your
/// own has the same three functions:
///
///     static Json schema();              // JSON Schema of the values
///     static T read(const Json& json);   // `json` fits the schema; throws a std::exception if it
///                                        // makes no T all the same
///     static Json write(const T& value);
template <class T>
struct ToolType {
  static_assert(!std::is_same_v<T, T>,
                "no ToolType for this type: describe enums and aggregates with moderato::Describe");
};

/// As what a parameter of type P is kept between reading and calling.
template <class P>
using ToolValue = std::conditional_t<std::is_same_v<std::remove_cvref_t<P>, std::string_view>,
                                     std::string, std::remove_cvref_t<P>>;

/// Whether a value may be left out by its type alone.
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <>
struct ToolType<bool> {
  static Json schema() { return {{"type", "boolean"}}; }
  static bool read(const Json& json) { return json.get<bool>(); }
  static Json write(bool value) { return value; }
};

/// The schema states the range of 8- and 16-bit integers and that unsigned ones are not negative;
/// that a number fits 32 or 64 bits is only checked.
template <std::integral T>
requires(!std::same_as<T, bool> && !std::same_as<T, char>) struct ToolType<T> {
  using Limits = std::numeric_limits<T>;
  static Json schema() {
    Json schema{{"type", "integer"}};
    if (std::is_unsigned_v<T> || sizeof(T) < 4) schema["minimum"] = Limits::min();
    if (sizeof(T) < 4) schema["maximum"] = Limits::max();
    return schema;
  }
  static T read(const Json& json) {
    using Widest = std::conditional_t<std::is_unsigned_v<T>, std::uint64_t, std::int64_t>;
    return static_cast<T>(read_integer(json, Widest{Limits::min()}, Widest{Limits::max()}));
  }
  static Json write(T value) { return value; }
};

template <std::floating_point T>
struct ToolType<T> {
  static Json schema() { return {{"type", "number"}}; }
  static T read(const Json& json) { return json.get<T>(); }
  static Json write(T value) { return value; }
};

template <>
struct ToolType<std::string> {
  static Json schema() { return {{"type", "string"}}; }
  static std::string read(const Json& json) { return json.get<std::string>(); }
  static Json write(std::string_view value) { return value; }
};

/// Any JSON value.
template <>
struct ToolType<Json> {
  static Json schema() { return Json::object(); }
  static Json read(const Json& json) { return json; }
  static Json write(const Json& value) { return value; }
};

template <class T>
struct ToolType<std::optional<T>> {
  static Json schema() { return ToolType<T>::schema(); }
  static std::optional<T> read(const Json& json) {
    if (json.is_null()) return std::nullopt;
    return ToolType<T>::read(json);
  }
  static Json write(const std::optional<T>& value) {
    return value ? ToolType<T>::write(*value) : Json(nullptr);
  }
};

template <class T>
struct ToolType<std::vector<T>> {
  static Json schema() { return {{"type", "array"}, {"items", ToolType<T>::schema()}}; }
  static std::vector<T> read(const Json& json) {
    std::vector<T> values;
    values.reserve(json.size());
    for (const Json& item : json) values.push_back(ToolType<T>::read(item));
    return values;
  }
  static Json write(const std::vector<T>& values) {
    Json json = Json::array();
    for (const auto& value : values) json.push_back(ToolType<T>::write(value));
    return json;
  }
};

template <class Map>
struct MapToolType {
  using T = typename Map::mapped_type;
  static Json schema() {
    return {{"type", "object"}, {"additionalProperties", ToolType<T>::schema()}};
  }
  static Map read(const Json& json) {
    Map values;
    for (const auto& [key, value] : json.items()) values.emplace(key, ToolType<T>::read(value));
    return values;
  }
  static Json write(const Map& values) {
    Json json = Json::object();
    for (const auto& [key, value] : values) json[key] = ToolType<T>::write(value);
    return json;
  }
};
template <class T>
struct ToolType<std::map<std::string, T>> : MapToolType<std::map<std::string, T>> {};
template <class T>
struct ToolType<std::map<std::string, T, std::less<>>>
    : MapToolType<std::map<std::string, T, std::less<>>> {};
template <class T>
struct ToolType<std::unordered_map<std::string, T>>
    : MapToolType<std::unordered_map<std::string, T>> {};

/// By name; a value without a name throws std::invalid_argument when it is written.
template <DescribedEnum T>
struct ToolType<T> {
  static Json schema() {
    Json names = Json::array();
    each([&](const auto& known) { names.push_back(known.name); });
    return {{"type", "string"}, {"enum", std::move(names)}};
  }
  static T read(const Json& json) {
    std::optional<T> found;
    const auto name = json.get<std::string>();
    each([&](const auto& known) {
      if (known.name == name) found = known.value;
    });
    if (!found) throw std::invalid_argument("there is no \"" + name + '"');
    return *found;
  }
  static Json write(T value) {
    Json name;
    each([&](const auto& known) {
      if (name.is_null() && known.value == value) name = known.name;
    });
    if (name.is_null()) throw std::invalid_argument("an enum value that Describe does not name");
    return name;
  }

 private:
  template <class F>
  static void each(F&& f) {
    std::apply([&](const auto&... known) { (f(known), ...); }, Describe<T>::values);
  }
};

template <DescribedAggregate T>
struct ToolType<T> {
  static Json schema() {
    Json schema = object_schema();
    each([&]<class Member>(const Field<T, Member>& field) {
      Json property = with_range(ToolType<Member>::schema(), field.range);
      if (field.absent_allowed) property["default"] = ToolType<Member>::write(T{}.*field.member);
      add_property(schema, field.name, std::move(property), field.description,
                   !may_be_absent(field));
    });
    return schema;
  }
  static T read(const Json& json) {
    T value{};
    each([&]<class Member>(const Field<T, Member>& field) {
      const auto found = json.find(field.name);
      if (found == json.end() || (found->is_null() && may_be_absent(field))) return;
      value.*field.member = ToolType<Member>::read(*found);
    });
    return value;
  }
  static Json write(const T& value) {
    Json json = Json::object();
    each([&]<class Member>(const Field<T, Member>& field) {
      json[std::string(field.name)] = ToolType<Member>::write(value.*field.member);
    });
    return json;
  }

 private:
  template <class Member>
  static constexpr bool may_be_absent(const Field<T, Member>& field) {
    return is_optional<Member> || field.absent_allowed;
  }
  template <class F>
  static void each(F&& f) {
    std::apply([&](const auto&... field) { (f(field), ...); }, Describe<T>::fields);
  }
};

/// What a callable returned, as the text that the model gets: a text as it is, anything else as
/// JSON (see result_text).
template <class T>
[[nodiscard]] std::string result_text_of(const T& value) {
  if constexpr (std::convertible_to<const T&, std::string_view>) {
    return std::string(std::string_view(value));
  } else {
    return result_text(ToolType<T>::write(value));
  }
}

}  // namespace moderato
