#include <doctest/doctest.h>

#include <stdexcept>

#include <moderato/agents/tool_schema.hpp>

namespace moderato {
namespace {

std::vector<std::string> problems(const char* value, const char* schema,
                                  UnknownProperties unknown = UnknownProperties::as_schema_says) {
  return check_json(Json::parse(value), Json::parse(schema), unknown);
}

std::string problem(const char* value, const char* schema) {
  const auto found = problems(value, schema);
  REQUIRE(found.size() == 1);
  return found.front();
}

TEST_CASE("a value of another type is told with what was expected and what came") {
  CHECK(problem(R"({"n":"5"})", R"({"properties":{"n":{"type":"integer"}}})") ==
        R"(n: expected an integer, got "5")");
  CHECK(problem(R"({"b":1})", R"({"properties":{"b":{"type":"boolean"}}})") ==
        "b: expected true or false, got 1");
  CHECK(problem("[1]", R"({"type":"object"})") == "the arguments: expected an object, got [1]");
  CHECK(problem("null", R"({"type":"object"})") == "the arguments: expected an object, got null");
  CHECK(problem(R"({"x":[]})", R"({"properties":{"x":{"type":["string","null"]}}})") ==
        "x: expected a string or null, got []");
}

TEST_CASE("a whole float is an integer, a broken one is not") {
  CHECK(problems("3.0", R"({"type":"integer"})").empty());
  CHECK(problems("3", R"({"type":"number"})").empty());
  CHECK(problem("3.5", R"({"type":"integer"})") == "the arguments: expected an integer, got 3.5");
  CHECK(problems("1e300", R"({"type":"integer"})").size() == 1);
}

TEST_CASE("values outside an enum, a constant or a range are told") {
  CHECK(problem(R"({"u":"kelvin"})", R"({"properties":{"u":{"enum":["celsius","fahrenheit"]}}})") ==
        R"(u: expected one of "celsius" or "fahrenheit", got "kelvin")");
  CHECK(problem("2", R"({"const":1})") == "the arguments: expected 1, got 2");
  CHECK(problem("130", R"({"type":"integer","minimum":0,"maximum":120})") ==
        "the arguments: expected an integer between 0 and 120, got 130");
  CHECK(problem("-1", R"({"type":"number","minimum":0})") ==
        "the arguments: expected a number of at least 0, got -1");
  CHECK(problem("9", R"({"type":"number","maximum":8.5})") ==
        "the arguments: expected a number of at most 8.5, got 9");
}

TEST_CASE("everything that is wrong is told at once, with its place") {
  const auto found = problems(R"({"points":[{"x":1},{"x":"far","y":2}],"extra":1})", R"({
    "type":"object","additionalProperties":false,
    "properties":{"points":{"type":"array","items":{"type":"object",
        "properties":{"x":{"type":"number"},"y":{"type":"number","description":"Metres north"}},
        "required":["x","y"]}},
      "name":{"type":"string"}},
    "required":["points","name"]})");
  const std::vector<std::string> expected{
      "points[0].y is missing: expected a number (Metres north)",
      "points[1].x: expected a number, got \"far\"",
      "name is missing: expected a string",
      "extra is unknown: expected points or name",
  };
  CHECK(found == expected);
}

TEST_CASE("free keys are checked by the schema of their values") {
  const char* schema = R"({"type":"object","additionalProperties":{"type":"integer"}})";
  CHECK(problems(R"({"a":1,"b":2})", schema, UnknownProperties::wrong).empty());
  CHECK(problem(R"({"a":"x"})", schema) == R"(a: expected an integer, got "x")");
}

TEST_CASE("unknown properties are wrong where the schema or the caller says so") {
  const char* open = R"({"type":"object","properties":{"a":{}}})";
  CHECK(problems(R"({"b":1})", open).empty());
  CHECK(problems(R"({"b":1})", open, UnknownProperties::wrong).size() == 1);
  CHECK(problems(R"({"b":1})", R"({"type":"object"})", UnknownProperties::wrong).empty());
  CHECK(problems(R"({"b":1})", R"({"properties":{},"additionalProperties":false})").front() ==
        "b is unknown: expected nothing");
}

TEST_CASE("null stands for a property that may be absent") {
  CHECK(problems(R"({"a":null})", R"({"properties":{"a":{"type":"string"}}})").empty());
  CHECK(problems(R"({"a":null})", R"({"properties":{"a":{"type":"string"}},"required":["a"]})")
            .size() == 1);
}

TEST_CASE("schemas that make no sense fulfil everything instead of crashing") {
  for (const char* schema :
       {"true", "null", "[]", R"({"type":5})", R"({"type":"unheard-of"})", R"({"required":"x"})",
        R"({"properties":[]})", R"({"enum":{}})", R"({"minimum":"a"})", R"({"items":null})"}) {
    CAPTURE(schema);
    CHECK(problems(R"({"a":[1]})", schema).empty());
    CHECK(problems("[1]", schema).empty());
    CHECK(problems("1", schema).empty());
  }
}

TEST_CASE("a long value is shortened in the error") {
  const std::string text(10'000, 'x');
  const auto found = check_json(Json(text), Json{{"type", "integer"}}, UnknownProperties::wrong);
  REQUIRE(found.size() == 1);
  CHECK(found.front().size() < 200);
}

TEST_CASE("the strict variant closes objects and makes the optional nullable") {
  const Json loose = Json::parse(R"({"type":"object","properties":{
      "city":{"type":"string"},
      "unit":{"type":"string","enum":["c","f"],"default":"c"},
      "points":{"type":"array","items":{"type":"object",
        "properties":{"x":{"type":"number"}},"required":[]}}},
    "required":["city","points"]})");
  CHECK(strict_schema(loose) == Json::parse(R"({"type":"object","properties":{
      "city":{"type":"string"},
      "unit":{"type":["string","null"],"enum":["c","f",null]},
      "points":{"type":"array","items":{"type":"object",
        "properties":{"x":{"type":["number","null"]}},"required":["x"],
        "additionalProperties":false}}},
    "required":["city","unit","points"],"additionalProperties":false})"));
}

TEST_CASE("a map cannot be strict") {
  CHECK_THROWS_AS(static_cast<void>(strict_schema(Json::parse(
                      R"({"type":"object","additionalProperties":{"type":"string"}})"))),
                  std::invalid_argument);
}

TEST_CASE("integers are read only if they fit") {
  const std::int64_t low = -128;
  const std::int64_t high = 127;
  CHECK(read_integer(Json(5), low, high) == 5);
  CHECK(read_integer(Json(-128.0), low, high) == -128);
  CHECK_THROWS_WITH(static_cast<void>(read_integer(Json(128), low, high)),
                    "expected an integer between -128 and 127, got 128");
  CHECK_THROWS_AS(static_cast<void>(read_integer(Json(0.5), low, high)), std::out_of_range);
  const Json largest(std::numeric_limits<std::uint64_t>::max());
  CHECK_THROWS_AS(static_cast<void>(read_integer(largest, std::numeric_limits<std::int64_t>::min(),
                                                 std::numeric_limits<std::int64_t>::max())),
                  std::out_of_range);
  const std::uint64_t zero = 0;
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  CHECK(read_integer(largest, zero, most) == most);
  CHECK_THROWS_AS(static_cast<void>(read_integer(Json(-1), zero, most)), std::out_of_range);
}

}  // namespace
}  // namespace moderato
