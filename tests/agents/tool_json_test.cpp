#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <moderato/agents/tool_json.hpp>

namespace moderato {
namespace {

TEST_CASE("line breaks and tabs inside strings are escaped, line breaks outside are dropped") {
  CHECK(repair_json(R"({"a": 1})") == R"({"a": 1})");
  CHECK(repair_json("{\n\"a\":\n\"x\ny\tz\"\n}") == R"({"a":"x\ny\tz"})");
  CHECK(repair_json("{\t\"a\": 1}") == "{\t\"a\": 1}");
  CHECK(repair_json("{\"a\": \"say \\\"hi\\\"\nthere\"}") == R"({"a": "say \"hi\"\nthere"})");
  CHECK(repair_json("\n\n").empty());
  CHECK(repair_json("\"open\n") == "\"open\\n");
}

TEST_CASE("a string that ends with an escaped backslash is misread, as in AutoGen") {
  CHECK(repair_json("{\"a\": \"b\\\\\"\n}") == R"({"a": "b\\"\n})");
}

TEST_CASE("JSON is written with spaces after commas and colons") {
  const Json value = Json::parse(R"({"b":{"c":[1,"é",true,null]},"a":[],"o":{}})");
  CHECK(to_spaced_json(value) == R"({"b": {"c": [1, "é", true, null]}, "a": [], "o": {}})");
}

TEST_CASE("floats are written as Python writes them") {
  const auto text = [](double value) { return to_spaced_json(Json(value)); };
  CHECK(text(3.0) == "3.0");
  CHECK(text(0.1) == "0.1");
  CHECK(text(-2.5) == "-2.5");
  CHECK(text(0.0) == "0.0");
  CHECK(text(-0.0) == "-0.0");
  CHECK(text(1e15) == "1000000000000000.0");
  CHECK(text(1e16) == "1e+16");
  CHECK(text(1.5e300) == "1.5e+300");
  CHECK(text(0.0001) == "0.0001");
  CHECK(text(0.00001) == "1e-05");
  CHECK(text(std::numeric_limits<double>::quiet_NaN()) == "NaN");
  CHECK(text(-std::numeric_limits<double>::infinity()) == "-Infinity");
}

TEST_CASE("a text result stays as it is, and everything is valid UTF-8") {
  CHECK(result_text(Json("a \"b\"")) == "a \"b\"");
  CHECK(result_text(Json::array({"a \"b\"\n"})) == R"(["a \"b\"\n"])");
  CHECK(result_text(Json(nullptr)) == "null");
  CHECK(result_text(Json::array({"\xFF"})) == "[\"\xEF\xBF\xBD\"]");
}

}  // namespace
}  // namespace moderato
