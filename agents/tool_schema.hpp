#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/agents/describe.hpp>
#include <moderato/core/json.hpp>

namespace moderato {

/// {"type": "object", "properties": {}, "required": []}.
[[nodiscard]] Json object_schema();
/// Adds a property to an object_schema.
void add_property(Json& object, std::string_view name, Json property, std::string_view description,
                  bool required);
/// Adds what `range` bounds to the schema of a number.
[[nodiscard]] Json with_range(Json schema, NumberRange range);

/// The variant that OpenAI's strict mode asks for: objects take no further properties and require
/// all they have; what could be absent becomes nullable. Throws std::invalid_argument for an object
/// with free keys (a map), which that mode cannot describe.
[[nodiscard]] Json strict_schema(Json schema);

/// What an object's properties that its schema does not name are: whatever the schema says about
/// them, or wrong.
enum class UnknownProperties : std::uint8_t { as_schema_says, wrong };

/// Everything about `value` that does not fit `schema`, one sentence each, meant for a model: the
/// place, what was expected, what came. Empty: it fits. Looked at: type (one or a list), enum,
/// const, minimum, maximum, items, properties, required, additionalProperties; other keywords are
/// taken as fulfilled. A property that is not required may also be null.
[[nodiscard]] std::vector<std::string> check_json(const Json& value, const Json& schema,
                                                  UnknownProperties unknown);

/// The integer in `json` (which may be written as 3.0). Throws std::out_of_range if it is not
/// between `least` and `most`.
[[nodiscard]] std::int64_t read_integer(const Json& json, std::int64_t least, std::int64_t most);
[[nodiscard]] std::uint64_t read_integer(const Json& json, std::uint64_t least, std::uint64_t most);

}  // namespace moderato
