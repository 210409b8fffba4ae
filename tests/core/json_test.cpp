#include <moderato/core/json.hpp>

#include <doctest/doctest.h>

#include <moderato/core/simulation.hpp>

namespace moderato {
namespace {

std::string literal(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST_CASE("a parse error says where and what") {
  const auto read = parse_json("{\n  \"a\": 1,\n  oops\n}", "options.json");
  REQUIRE_FALSE(read.has_value());
  CHECK(read.error().message.find("options.json, line 3, column 3") == 0);
  CHECK(read.error().message.find("invalid literal") != std::string::npos);
  CHECK_FALSE(parse_json("").has_value());
  CHECK_FALSE(parse_json("{} x").has_value());
}

TEST_CASE("a JSON string literal agrees with nlohmann's for every ASCII character") {
  for (int c = 0; c < 128; ++c) {
    const std::string text(1, static_cast<char>(c));
    CHECK(literal(text) == dump_json(Json(text)));
  }
}

TEST_CASE("invalid UTF-8 becomes the replacement character, valid text stays") {
  const std::string good = "grün 日本 😀 \xF4\x8F\xBF\xBF";
  CHECK(valid_utf8(good) == good);
  CHECK(literal(good) == "\"" + good + "\"");
  for (const std::string bad : {"\xFF", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80",
                                "\xF4\x90\x80\x80", "\xF0\x9F\x98", "\x80", "a\xC3"}) {
    CHECK_FALSE(is_valid_utf8(bad));
    CHECK(is_valid_utf8(valid_utf8(bad)));
    CHECK(Json::accept(literal(bad)));
    CHECK_NOTHROW((void)dump_json(Json(bad)));
  }
}

TEST_CASE("every pair of bytes is either valid for nlohmann too or repaired") {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string text{static_cast<char>(a), static_cast<char>(b)};
      const std::string repaired = literal(text);
      REQUIRE(Json::accept(repaired));
      bool accepted = true;
      try {
        (void)Json(text).dump();
      } catch (const Json::exception&) {
        accepted = false;
      }
      REQUIRE(is_valid_utf8(text) == accepted);
    }
  }
}

TEST_CASE("a character that needs care is found at every place of a long text") {
  for (const std::string_view special :
       {"\"", "\\", "\n", "\x01", "\x1f", "\x7f", "\u00fc", "\u65e5"}) {
    for (std::size_t place = 0; place < 40; ++place) {
      std::string text(place, ' ');
      text += special;
      text += "~~~~~~~~~~~~~~~~~";
      REQUIRE(literal(text) == dump_json(Json(text)));
      REQUIRE(is_valid_utf8(text));
      text[place] = '\xFE';
      REQUIRE_FALSE(is_valid_utf8(text));
    }
  }
}

TEST_CASE("nesting is bounded, brackets within strings do not count") {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  Simulation world;
  world.block_on([&] {  // on a fiber's small stack
    const auto deepest = parse_json(nested(max_json_depth));
    REQUIRE(deepest.has_value());
    const Json copy = *deepest;
    CHECK(dump_json(copy) == nested(max_json_depth));
  });
  const auto refused = parse_json("\n" + nested(100'000), "tool arguments");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message ==
        "tool arguments, line 2, column 101: nested deeper than 100 levels");
  CHECK(parse_json("[\"\\\"" + std::string(1000, '{') + "\"]").has_value());
  std::string wide = "[0";
  for (int i = 0; i < 1000; ++i) wide += ",{}";
  CHECK(parse_json(wide + "]").has_value());
}

}  // namespace
}  // namespace moderato

TEST_CASE("whole numbers of others are whole, and not so large that sums overflow") {
  CHECK(moderato::whole_number(moderato::Json(7)) == 7);
  CHECK(moderato::whole_number(moderato::Json(-7)) == -7);
  CHECK(moderato::whole_number(moderato::Json{{"a", 3}}, "a", 1) == 3);
  CHECK(moderato::whole_number(moderato::Json{{"a", 3}}, "b", 1) == 1);
  for (const char* wrong : {"6e22", "1.5", "\"7\"", "true", "null", "18446744073709551615",
                            "-9223372036854775808", "[1]"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(static_cast<void>(moderato::whole_number(moderato::Json::parse(wrong))),
                    moderato::Json::exception);
  }
}
