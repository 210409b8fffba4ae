#include <moderato/agents/tool_schema.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include <moderato/agents/tool_json.hpp>

namespace moderato {
namespace {

constexpr double two_to_63 = 9223372036854775808.0;

bool is_integral(const Json& value) {
  if (value.is_number_integer()) return true;
  if (!value.is_number_float()) return false;
  const double number = value.get<double>();
  return std::abs(number) < two_to_63 && std::trunc(number) == number;
}

bool has_type(const Json& value, std::string_view type) {
  if (type == "string") return value.is_string();
  if (type == "integer") return is_integral(value);
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "null") return value.is_null();
  return true;
}

// A member of a schema; null if it is not there.
const Json& keyword(const Json& schema, const char* name) {
  static const Json absent;
  const auto found = schema.find(name);
  return found != schema.end() ? *found : absent;
}

std::string in_words(std::string_view type) {
  if (type == "boolean") return "true or false";
  if (type == "integer" || type == "array" || type == "object") return fmt::format("an {}", type);
  if (type == "null") return "null";
  return fmt::format("a {}", type);
}

// "a, b or c".
std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text += words[i];
  }
  return text;
}

std::string expected(const Json& schema) {
  std::vector<std::string> words;
  if (const Json& values = keyword(schema, "enum"); values.is_array()) {
    for (const Json& value : values) words.push_back(to_spaced_json(value));
    return "one of " + joined(words);
  }
  if (schema.contains("const")) return to_spaced_json(schema["const"]);
  const Json& type = keyword(schema, "type");
  if (type.is_string()) words.push_back(in_words(type.get<std::string>()));
  if (type.is_array()) {
    for (const Json& one : type) {
      if (one.is_string()) words.push_back(in_words(one.get<std::string>()));
    }
  }
  std::string text = words.empty() ? "a value" : joined(words);
  const Json& least = keyword(schema, "minimum");
  const Json& most = keyword(schema, "maximum");
  if (!least.is_null() && !most.is_null()) {
    text += fmt::format(" between {} and {}", to_spaced_json(least), to_spaced_json(most));
  } else if (!least.is_null()) {
    text += fmt::format(" of at least {}", to_spaced_json(least));
  } else if (!most.is_null()) {
    text += fmt::format(" of at most {}", to_spaced_json(most));
  }
  return text;
}

std::string shortened(const Json& value) {
  constexpr std::size_t most = 80;
  std::string text = to_spaced_json(value);
  if (text.size() <= most) return text;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  text.resize(end);
  return text + "…";
}

bool type_fits(const Json& value, const Json& type) {
  if (type.is_string()) return has_type(value, type.get_ref<const std::string&>());
  if (!type.is_array()) return true;
  return std::any_of(type.begin(), type.end(), [&](const Json& one) {
    return one.is_string() && has_type(value, one.get_ref<const std::string&>());
  });
}

bool value_fits(const Json& value, const Json& schema) {
  if (!type_fits(value, keyword(schema, "type"))) return false;
  if (const Json& values = keyword(schema, "enum"); values.is_array()) {
    if (std::find(values.begin(), values.end(), value) == values.end()) return false;
  }
  if (schema.contains("const") && schema["const"] != value) return false;
  if (!value.is_number()) return true;
  const Json& least = keyword(schema, "minimum");
  const Json& most = keyword(schema, "maximum");
  return (!least.is_number() || value >= least) && (!most.is_number() || value <= most);
}

bool is_required(const Json& schema, const std::string& name) {
  const Json& required = keyword(schema, "required");
  return required.is_array() && std::find(required.begin(), required.end(), name) != required.end();
}

// Goes through a value beside its schema and writes down what does not fit.
class Check {
 public:
  explicit Check(UnknownProperties unknown) : unknown_(unknown) {}

  void value(const std::string& place, const Json& value, const Json& schema) {
    if (!schema.is_object()) return;  // `true`, or no schema at all
    if (!value_fits(value, schema)) {
      problems.push_back(fmt::format("{}: expected {}, got {}",
                                     place.empty() ? "the arguments" : place, expected(schema),
                                     shortened(value)));
    } else if (value.is_object()) {
      object(place, value, schema);
    } else if (value.is_array()) {
      if (!schema.contains("items")) return;
      for (std::size_t i = 0; i < value.size(); ++i) {
        this->value(fmt::format("{}[{}]", place, i), value[i], schema["items"]);
      }
    }
  }

  std::vector<std::string> problems;

 private:
  void object(const std::string& place, const Json& value, const Json& schema) {
    const Json& properties = keyword(schema, "properties");
    for (const auto& [name, property] : properties.items()) {
      const auto found = value.find(name);
      const bool required = is_required(schema, name);
      if (found == value.end()) {
        if (required) missing(at(place, name), property);
      } else if (required || !found->is_null()) {
        this->value(at(place, name), *found, property);
      }
    }
    for (const auto& [name, member] : value.items()) {
      if (!properties.contains(name)) further(place, name, member, schema);
    }
  }

  void missing(const std::string& place, const Json& property) {
    const Json& description = keyword(property, "description");
    problems.push_back(fmt::format(
        "{} is missing: expected {}{}", place, expected(property),
        description.is_string() ? " (" + description.get<std::string>() + ")" : std::string()));
  }

  // A member that `properties` does not name.
  void further(const std::string& place, const std::string& name, const Json& member,
               const Json& schema) {
    const Json& additional = keyword(schema, "additionalProperties");
    if (additional.is_object()) return value(at(place, name), member, additional);
    const bool any_object = additional.is_null() && !schema.contains("properties");
    const bool allowed = additional.is_boolean()
                             ? additional.get<bool>()
                             : any_object || unknown_ == UnknownProperties::as_schema_says;
    if (allowed) return;
    std::vector<std::string> known;
    for (const auto& [property, ignored] : keyword(schema, "properties").items()) {
      known.push_back(property);
    }
    problems.push_back(fmt::format("{} is unknown: expected {}", at(place, name),
                                   known.empty() ? "nothing" : joined(known)));
  }

  static std::string at(const std::string& place, const std::string& name) {
    return place.empty() ? name : place + '.' + name;
  }

  const UnknownProperties unknown_;
};

Json nullable(Json schema) {
  if (const Json& type = keyword(schema, "type"); type.is_string()) {
    schema["type"] = Json::array({type, "null"});
  }
  if (schema.contains("enum")) schema["enum"].push_back(nullptr);
  return schema;
}

Json bound(double number) {
  if (std::trunc(number) != number || std::abs(number) >= two_to_63) return number;
  if (number < 0) return static_cast<std::int64_t>(number);
  return static_cast<std::uint64_t>(number);
}

template <class T>
T integer_between(const Json& json, T least, T most) {
  const auto checked = [&](auto number) {
    if (std::cmp_less(number, least) || std::cmp_greater(number, most)) {
      throw std::out_of_range(fmt::format("expected an integer between {} and {}, got {}", least,
                                          most, to_spaced_json(json)));
    }
    return static_cast<T>(number);
  };
  if (!is_integral(json)) throw std::out_of_range("expected an integer, got " + shortened(json));
  return json.is_number_unsigned() ? checked(json.get<std::uint64_t>())
                                   : checked(json.get<std::int64_t>());
}

}  // namespace

Json object_schema() {
  return {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
}

void add_property(Json& object, std::string_view name, Json property, std::string_view description,
                  bool required) {
  if (!description.empty()) property["description"] = description;
  object["properties"][std::string(name)] = std::move(property);
  if (required) object["required"].push_back(name);
}

Json with_range(Json schema, NumberRange range) {
  const bool least = std::isfinite(range.least);
  const bool most = std::isfinite(range.most);
  if (!least && !most) return schema;
  const Json& type = keyword(schema, "type");
  if (type != "integer" && type != "number") {
    throw std::invalid_argument("between() is for numbers");
  }
  if (range.least > range.most) {
    throw std::invalid_argument(
        fmt::format("between({}, {}) leaves no number", range.least, range.most));
  }
  if (least) schema["minimum"] = bound(range.least);
  if (most) schema["maximum"] = bound(range.most);
  return schema;
}

Json strict_schema(Json schema) {
  if (!schema.is_object()) return schema;
  schema.erase("default");
  if (schema.contains("items")) schema["items"] = strict_schema(schema["items"]);
  if (keyword(schema, "type") != "object") return schema;
  if (!schema.contains("properties") || keyword(schema, "additionalProperties").is_object()) {
    throw std::invalid_argument(
        "a strict tool cannot take a map: its keys are not known beforehand");
  }
  Json required = Json::array();
  for (auto& [name, property] : schema["properties"].items()) {
    const bool may_be_absent = !is_required(schema, name);
    property = strict_schema(std::move(property));
    if (may_be_absent) property = nullable(std::move(property));
    required.push_back(name);
  }
  schema["required"] = std::move(required);
  schema["additionalProperties"] = false;
  return schema;
}

std::vector<std::string> check_json(const Json& value, const Json& schema,
                                    UnknownProperties unknown) {
  Check check(unknown);
  check.value("", value, schema);
  return std::move(check.problems);
}

std::int64_t read_integer(const Json& json, std::int64_t least, std::int64_t most) {
  return integer_between<std::int64_t>(json, least, most);
}

std::uint64_t read_integer(const Json& json, std::uint64_t least, std::uint64_t most) {
  return integer_between<std::uint64_t>(json, least, most);
}

}  // namespace moderato
