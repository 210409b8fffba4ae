#include <moderato/core/message.hpp>

#include <doctest/doctest.h>

#include <thread>

namespace moderato {
namespace {

Message round_trip(const Message& message) {
  const auto read = message_from_json(to_json(message));
  REQUIRE(read.has_value());
  return *read;
}

TEST_CASE("every kind of message survives the way through JSON") {
  CHECK(round_trip(Message::system("Be brief.")) == Message::system("Be brief."));
  CHECK(round_trip(Message::user("hi", "ann")) == Message::user("hi", "ann"));
  const Message calls{.role = Role::assistant,
                      .content = nullptr,
                      .tool_calls = {{"call_1", "add", R"({"a": 1})"}, {"", "now", ""}}};
  CHECK(round_trip(calls) == calls);
  const Message responses{.role = Role::tool,
                          .content = "2\n\nnoon",
                          .name = "executor",
                          .tool_responses = {{.tool_call_id = "call_1", .content = "2"},
                                             {.tool_call_id = "", .content = "noon"}}};
  CHECK(round_trip(responses) == responses);
  const Message parts{.role = Role::user,
                      .content = std::vector<ContentPart>{
                          TextPart{"What is this?"},
                          ImagePart{.url = "https://example.org/cat.png", .detail = "low"}}};
  CHECK(round_trip(parts) == parts);
  const Message legacy{.role = Role::assistant,
                       .content = nullptr,
                       .function_call = FunctionCall{"add", "{}"},
                       .context = Json{{"x", 1}}};
  CHECK(round_trip(legacy) == legacy);
}

TEST_CASE("null content is written and absent members are not") {
  CHECK(dump_json(to_json(Message{.role = Role::assistant, .content = nullptr})) ==
        R"({"content":null,"role":"assistant"})");
}

TEST_CASE("unknown members are ignored, as servers send them") {
  const auto read = message_from_json(
      Json::parse(R"({"role":"assistant","content":"x","annotations":[],"audio":null})"));
  REQUIRE(read.has_value());
  CHECK(*read == Message::assistant("x"));
}

TEST_CASE("a wrong type is an error that names the member") {
  const auto error_of = [](const char* text) {
    const auto read = message_from_json(Json::parse(text));
    REQUIRE_FALSE(read.has_value());
    CHECK(read.error().code == ErrorCode::invalid_message);
    return read.error().message;
  };
  CHECK(error_of("[]").find("object") != std::string::npos);
  CHECK(error_of(R"({"role":"pilot"})").find("role") != std::string::npos);
  CHECK(error_of(R"({"content":5})").find("content") != std::string::npos);
  CHECK(error_of(R"({"content":[{"type":"audio"}]})").find("content[].type") != std::string::npos);
  CHECK(error_of(R"({"tool_calls":{}})").find("tool_calls") != std::string::npos);
  CHECK(error_of(R"({"tool_calls":[7]})").find("tool_calls[]") != std::string::npos);
  CHECK(error_of(R"({"tool_calls":[{"id":1,"function":{}}]})").find("id") != std::string::npos);
}

TEST_CASE("the text of content joins parts and marks images") {
  CHECK(Content(nullptr).text().empty());
  CHECK(Content("a").text() == "a");
  CHECK(Content(std::vector<ContentPart>{TextPart{"a"}, ImagePart{"u"}, TextPart{"b"}}).text() ==
        "a<image>b");
}

TEST_CASE("a stored message is serialised once for each dialect") {
  const MessagePtr message = store(Message::user("hi"));
  int written = 0;
  const int one = 1;
  const int other = 2;
  const auto write = [&](const Message& m) {
    ++written;
    return m.text() + "!";
  };
  const std::string_view first = message->wire(&one, write);
  CHECK(first == "hi!");
  CHECK(message->wire(&one, write).data() == first.data());
  CHECK(written == 1);
  CHECK(message->wire(&other, write) == "hi!");
  CHECK(written == 2);
}

TEST_CASE("threads may ask for the wire bytes of one message at once") {
  const MessagePtr message = store(Message::user("hi"));
  const int dialects[4] = {};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        const auto bytes =
            message->wire(&dialects[i % 4], [](const Message& m) { return m.text(); });
        if (bytes != "hi") std::abort();
      }
    });
  }
}

}  // namespace
}  // namespace moderato
