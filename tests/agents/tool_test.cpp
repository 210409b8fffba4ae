#include <doctest/doctest.h>

#include <stdexcept>

#include <moderato/agents/tool.hpp>

namespace moderato {

enum class Unit { celsius, fahrenheit };
template <>
struct Describe<Unit> {
  static constexpr auto values =
      std::tuple{enumerator("celsius", Unit::celsius), enumerator("fahrenheit", Unit::fahrenheit)};
};

struct Point {
  double x = 0;
  double y = 0;
  std::optional<std::string> label{};
  int weight = 1;
};
template <>
struct Describe<Point> {
  static constexpr auto fields =
      std::tuple{field("x", &Point::x, "Metres east"), field("y", &Point::y).between(-90, 90),
                 field("label", &Point::label), field("weight", &Point::weight).may_be_absent()};
};

struct Route {
  std::vector<Point> stops{};
  Unit unit = Unit::celsius;
};
template <>
struct Describe<Route> {
  static constexpr auto fields =
      std::tuple{field("stops", &Route::stops), field("unit", &Route::unit)};
};

namespace {

Json parameters(const Tool& tool) {
  return tool.definition().parameters;
}

std::string text(const Tool& tool, std::string_view arguments, const ToolContext& context = {}) {
  const auto result = tool.call(arguments, context);
  return result ? *result : "Error: " + result.error().message;
}

Tool weather() {
  return tool(
      "get_weather", "Current weather in a city",
      [](std::string city, bool celsius) { return city + (celsius ? ": 20 C" : ": 68 F"); },
      arg("city", "City name"), arg("celsius"));
}

TEST_CASE("the schema comes from the parameter types") {
  CHECK(weather().name() == "get_weather");
  CHECK(weather().definition().description == "Current weather in a city");
  CHECK_FALSE(weather().definition().strict);
  CHECK(dump_json(parameters(weather())) ==
        R"({"type":"object","properties":{"city":{"type":"string","description":"City name"},)"
        R"("celsius":{"type":"boolean"}},"required":["city","celsius"]})");
  const Tool all = tool(
      "all", "",
      [](std::int8_t, unsigned, std::int64_t, float, std::optional<int>, std::vector<std::string>,
         std::map<std::string, double>, Unit, const Json&) {},
      arg("small"), arg("natural"), arg("big"), arg("real"), arg("maybe"), arg("list"), arg("map"),
      arg("unit"), arg("any"));
  CHECK(parameters(all) == Json::parse(R"({"type":"object","properties":{
      "small":{"type":"integer","minimum":-128,"maximum":127},
      "natural":{"type":"integer","minimum":0},
      "big":{"type":"integer"},
      "real":{"type":"number"},
      "maybe":{"type":"integer"},
      "list":{"type":"array","items":{"type":"string"}},
      "map":{"type":"object","additionalProperties":{"type":"number"}},
      "unit":{"type":"string","enum":["celsius","fahrenheit"]},
      "any":{}},
    "required":["small","natural","big","real","list","map","unit","any"]})"));
}

TEST_CASE("an aggregate is described once for schema, arguments and results") {
  const Tool far = tool(
      "farthest", "",
      [](const Route& route, Unit unit) -> Point {
        Point last = route.stops.back();
        last.weight += unit == Unit::celsius ? 0 : 100;
        return last;
      },
      arg("route"), arg("unit"));
  CHECK(parameters(far)["properties"]["route"] == Json::parse(R"({"type":"object","properties":{
      "stops":{"type":"array","items":{"type":"object","properties":{
        "x":{"type":"number","description":"Metres east"},
        "y":{"type":"number","minimum":-90,"maximum":90},
        "label":{"type":"string"},
        "weight":{"type":"integer","default":1}},"required":["x","y"]}},
      "unit":{"type":"string","enum":["celsius","fahrenheit"]}},
    "required":["stops","unit"]})"));
  CHECK(text(far, R"({"route":{"stops":[{"x":1,"y":2,"label":"a"},{"x":3,"y":4.5}],
                      "unit":"celsius"},"unit":"fahrenheit"})") ==
        R"({"x": 3.0, "y": 4.5, "label": null, "weight": 101})");
  CHECK(
      text(far, R"({"route":{"stops":[{"x":1,"y":91,"z":0}],"unit":"celsius"},"unit":"kelvin"})") ==
      "Error: wrong arguments for farthest:\n"
      "- route.stops[0].y: expected a number between -90 and 90, got 91\n"
      "- route.stops[0].z is unknown: expected x, y, label or weight\n"
      "- unit: expected one of \"celsius\" or \"fahrenheit\", got \"kelvin\"");
}

TEST_CASE("arguments reach the callable") {
  CHECK(text(weather(), R"({"city":"Oslo","celsius":false})") == "Oslo: 68 F");
  CHECK(text(weather(), R"({"celsius":true,"city":"Zürich"})") == "Zürich: 20 C");
}

TEST_CASE("every kind of callable is a tool") {
  struct Counter {
    int step;
    int operator()(int n) const noexcept { return n + step; }
  };
  static const auto twice = [](int n) { return 2 * n; };
  CHECK(text(tool("f", "", Counter{3}, arg("n")), R"({"n":4})") == "7");
  CHECK(text(tool("f", "", static_cast<int (*)(int)>(twice), arg("n")), R"({"n":4})") == "8");
  CHECK(text(tool("f", "", std::function<int(int)>(twice), arg("n")), R"({"n":4})") == "8");
  CHECK(text(tool(
                 "f", "", [](std::string_view s) { return s.size(); }, arg("s")),
             R"({"s":"four"})") == "4");
}

TEST_CASE("results are texts as they are and JSON for the rest") {
  CHECK(text(tool("f", "", [] { return "text"; }), "{}") == "text");
  CHECK(text(tool("f", "", [] { return 3.0; }), "{}") == "3.0");
  CHECK(text(tool("f", "", [] {}), "{}") == "null");
  CHECK(text(tool("f", "", [] { return std::optional<int>(); }), "{}") == "null");
  CHECK(text(tool("f", "", [] { return std::vector{1, 2}; }), "{}") == "[1, 2]");
  CHECK(text(tool("f", "",
                  [] {
                    return std::map<std::string, bool>{{"a", true}};
                  }),
             "{}") == R"({"a": true})");
  CHECK(text(tool("f", "", [] { return Json{{"é", nullptr}}; }), "{}") == R"({"é": null})");
  CHECK(text(tool("f", "", [] { return Json("plain"); }), "{}") == "plain");
  CHECK(text(tool("f", "", [] { return Result<int>(5); }), "{}") == "5");
  CHECK(text(tool("f", "", []() -> Result<void> { return {}; }), "{}") == "null");
  CHECK(text(tool("f", "", [] { return Unit::fahrenheit; }), "{}") == "fahrenheit");
}

TEST_CASE("defaults and optional arguments may be left out or null") {
  const Tool search = tool(
      "search", "",
      [](std::string words, int limit, std::optional<std::string> site, Unit unit) {
        return words + std::to_string(limit) + site.value_or("-") +
               (unit == Unit::celsius ? "c" : "f");
      },
      arg("words"), arg("limit").by_default(10).between(1, 50), arg("site"),
      arg("unit").by_default(Unit::fahrenheit));
  CHECK(parameters(search)["required"] == Json::array({"words"}));
  CHECK(parameters(search)["properties"]["limit"] ==
        Json::parse(R"({"type":"integer","minimum":1,"maximum":50,"default":10})"));
  CHECK(text(search, R"({"words":"x"})") == "x10-f");
  CHECK(text(search, R"({"words":"x","limit":null,"site":null,"unit":null})") == "x10-f");
  CHECK(text(search, R"({"words":"x","limit":3,"site":"s","unit":"celsius"})") == "x3sc");
  CHECK(text(search, R"({"words":"x","limit":51})") ==
        "Error: wrong arguments for search: limit: expected an integer between 1 and 50, got 51");
}

TEST_CASE("a strict tool sends a closed schema and takes null for what it could leave out") {
  const Tool strict = tool(
      "f", "", [](int a, std::optional<int> b) { return a + b.value_or(0); },
      arg("a").by_default(5), arg("b"), ToolOptions{.strict = true});
  CHECK(strict.definition().strict);
  CHECK(strict.options().strict);
  CHECK(parameters(strict) == Json::parse(R"({"type":"object","properties":{
      "a":{"type":["integer","null"]},"b":{"type":["integer","null"]}},
      "required":["a","b"],"additionalProperties":false})"));
  CHECK(text(strict, R"({"a":null,"b":2})") == "7");
  CHECK_THROWS_AS(
      static_cast<void>(tool(
          "f", "", [](std::map<std::string, int>) {}, arg("m"), ToolOptions{.strict = true})),
      std::invalid_argument);
}

TEST_CASE("all wrong arguments are told at once, in words for a model") {
  CHECK(text(weather(), R"({"celsius":"yes","colour":1})") ==
        "Error: wrong arguments for get_weather:\n"
        "- city is missing: expected a string (City name)\n"
        "- celsius: expected true or false, got \"yes\"\n"
        "- colour is unknown: expected city or celsius");
}

TEST_CASE("arguments that are no object are told clearly") {
  for (const char* wrong : {"null", "[\"Oslo\"]", "5", "\"Oslo\""}) {
    CAPTURE(wrong);
    CHECK(
        text(weather(), wrong)
            .starts_with(
                "Error: wrong arguments for get_weather: the arguments: expected an object, got "));
  }
  CHECK(text(tool("f", "", [] {}), "null").starts_with("Error: wrong arguments"));
}

TEST_CASE("arguments that are no JSON say so and where") {
  const std::string trailing = text(weather(), R"({"city": "Oslo",})");
  CHECK(trailing.starts_with("Error: "));
  CHECK(trailing.ends_with("\n The argument must be in JSON format."));
  CHECK(text(weather(), "").ends_with("\n The argument must be in JSON format."));
  CHECK(text(weather(), "oops").ends_with("\n The argument must be in JSON format."));
  CHECK(weather().call("oops").error().code == ErrorCode::tool_failed);
}

TEST_CASE("no text at all means no arguments where none is required") {
  CHECK(text(tool("now", "", [] { return "noon"; }), "") == "noon");
  CHECK(text(tool(
                 "now", "", [](int zone) { return zone; }, arg("zone").by_default(1)),
             " \n") == "1");
}

TEST_CASE("raw line breaks in strings are repaired, valid text is left alone") {
  const Tool echo = tool(
      "echo", "", [](std::string text) { return text; }, arg("text"));
  CHECK(text(echo, "{\"text\": \"say \\\"hi\\\"\nthere\"}") == "say \"hi\"\nthere");
  CHECK(text(echo, "{\"text\": \"back\\\\\"\n}") == "back\\");
}

TEST_CASE("numbers that do not fit the parameter are told with its name") {
  const Tool f = tool(
      "f", "", [](int n, std::uint64_t big) { return big + static_cast<unsigned>(n); }, arg("n"),
      arg("big"));
  CHECK(text(f, R"({"n":3000000000,"big":0})") ==
        "Error: n: expected an integer between -2147483648 and 2147483647, got 3000000000");
  CHECK(text(f, R"({"n":2.0,"big":18446744073709551613})") == "18446744073709551615");
}

TEST_CASE("what the callable throws becomes its error text") {
  const auto failing = [](auto thrown) {
    return tool("f", "", [thrown]() -> int { throw thrown; });
  };
  CHECK(text(failing(std::runtime_error("boom")), "{}") == "Error: boom");
  CHECK(text(failing(5), "{}") == "Error: the tool threw something that is no std::exception");
  CHECK(text(failing(std::runtime_error("")), "{}") ==
        "Error: the tool failed and did not say why");
}

TEST_CASE("an error that the tool returns is a tool failure; cancellation stays what it is") {
  const auto failing = [](ErrorCode code) {
    return tool("f", "", [code]() -> Result<int> { return fail(code, "no disk"); });
  };
  const auto failed = failing(ErrorCode::storage).call("{}");
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == ErrorCode::tool_failed);
  CHECK(failed.error().message == "no disk");
  CHECK(failing(ErrorCode::cancelled).call("{}").error().code == ErrorCode::cancelled);
}

TEST_CASE("the context reaches a callable that asks for it first or last") {
  const ToolContext context{.agent = "bob", .call_id = "c1"};
  CHECK(text(tool(
                 "f", "", [](const ToolContext& c, int n) { return c.agent + std::to_string(n); },
                 arg("n")),
             R"({"n":1})", context) == "bob1");
  CHECK(text(tool(
                 "f", "", [](int n, const ToolContext& c) { return c.call_id + std::to_string(n); },
                 arg("n")),
             R"({"n":1})", context) == "c11");
  CHECK(text(tool("f", "", [](const ToolContext& c) { return c.agent; }), "{}", context) == "bob");
}

TEST_CASE("a result that is too long is cut between characters and says so") {
  const Tool f = tool(
      "f", "", [] { return std::string("abcé") + std::string(96, 'x'); },
      ToolOptions{.max_result_bytes = 4});
  CHECK(text(f, "{}") == "abc\n[cut: the first 3 of 101 bytes]");
  const Tool whole = tool(
      "f", "", [] { return std::string(200'000, 'x'); }, ToolOptions{.max_result_bytes = 0});
  CHECK(text(whole, "{}").size() == 200'000);
  CHECK(text(tool("f", "", [] { return std::string(200'000, 'x'); }), "{}").size() < 100'100);
}

TEST_CASE("a result that is not UTF-8 is made so") {
  CHECK(text(tool("f", "", [] { return "a\xFF"; }), "{}") == "a\xEF\xBF\xBD");
}

TEST_CASE("a raw tool gets its arguments as JSON, checked against the schema it brings") {
  const Tool raw(RawTool{
      .definition =
          {.name = "raw",
           .parameters = Json::parse(
               R"({"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]})")},
      .function = [](const Json& arguments, const ToolContext&) -> Result<std::string> {
        return to_spaced_json(arguments);
      },
      .options = {.repeatable = true}});
  CHECK(text(raw, R"({"n":1,"more":2})") == R"({"n": 1, "more": 2})");
  CHECK(text(raw, "{}") == "Error: wrong arguments for raw: n is missing: expected an integer");
  CHECK(raw.repeatable());
  CHECK_FALSE(raw.runs_inline());
}

TEST_CASE("a tool that is only declared runs nothing") {
  const Tool declared(RawTool{.definition = {.name = "elsewhere"}});
  CHECK_FALSE(declared.has_function());
  CHECK(text(declared, "{}") == "Error: Function elsewhere not found.");
  CHECK(weather().has_function());
}

TEST_CASE("options are kept with the tool") {
  const Tool f = tool(
      "f", "", [] {},
      ToolOptions{.runs_inline = true,
                  .repeatable = true,
                  .idempotent = true,
                  .timeout = std::chrono::seconds(3)});
  CHECK(f.runs_inline());
  CHECK(f.repeatable());
  CHECK(f.idempotent());
  CHECK(f.timeout() == std::chrono::seconds(3));
  CHECK_FALSE(weather().idempotent());
}

TEST_CASE("misuse is refused when the tool is made") {
  const auto named = [](std::string name) { return tool(std::move(name), "", [] {}); };
  for (const char* name : {"", "with space", "é", "dots.and/slash"}) {
    CAPTURE(name);
    CHECK_THROWS_AS(static_cast<void>(named(name)), std::invalid_argument);
  }
  CHECK_THROWS_AS(static_cast<void>(named(std::string(65, 'a'))), std::invalid_argument);
  CHECK_NOTHROW(static_cast<void>(named(std::string(64, 'a'))));
  const auto two = [](int, int) {};
  CHECK_THROWS_AS(static_cast<void>(tool("f", "", two, arg("a"), arg("a"))), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(tool("f", "", two, arg("a"), arg(""))), std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(tool("f", "", two, arg("a").by_default("x"), arg("b"))),
                  std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(tool("f", "", two, arg("a").between(2, 1), arg("b"))),
                  std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(tool(
                      "f", "", [](std::string) {}, arg("s").between(0, 1))),
                  std::invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(Tool(
                      RawTool{.definition = {.name = "f", .parameters = Json{{"type", "array"}}}})),
                  std::invalid_argument);
}

}  // namespace
}  // namespace moderato
