#include <moderato/llm/http/sse_parser.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace moderato {
namespace {

using namespace std::string_view_literals;

struct Seen {
  std::string event;
  std::string data;
  std::string last_id;
  bool operator==(const Seen&) const = default;
};

struct Parsed {
  std::vector<Seen> events;
  std::optional<ErrorCode> error;
  bool operator==(const Parsed&) const = default;
};

Parsed parse(const std::vector<std::string_view>& pieces, std::size_t max_event_bytes = 1000) {
  Parsed parsed;
  SseParser parser(max_event_bytes);
  for (const std::string_view piece : pieces) {
    // A copy of its own for each piece, so that a view kept too long is seen by the sanitizer.
    const std::string copy(piece);
    const Result<void> fed = parser.feed(copy, [&](const SseEvent& event) -> Result<void> {
      parsed.events.push_back(
          {std::string(event.event), std::string(event.data), std::string(event.last_id)});
      return {};
    });
    if (!fed) {
      parsed.error = fed.error().code;
      break;
    }
  }
  return parsed;
}

std::vector<std::string> data_of(std::string_view stream) {
  std::vector<std::string> data;
  for (const Seen& event : parse({stream}).events) data.push_back(event.data);
  return data;
}

using Texts = std::vector<std::string>;

TEST_CASE("a data line and a blank line are an event") {
  CHECK(data_of("data: {\"a\":1}\n\ndata: [DONE]\n\n") == Texts{"{\"a\":1}", "[DONE]"});
}

TEST_CASE("one space after the colon is dropped, and no more than one") {
  CHECK(data_of("data:x\n\ndata: y\n\ndata:  z\n\n") == Texts{"x", "y", " z"});
}

TEST_CASE("several data lines are joined by line feeds") {
  CHECK(data_of("data: one\ndata:\ndata: three\n\n") == Texts{"one\n\nthree"});
  CHECK(data_of("data\ndata\n\n") == Texts{"\n"});
}

TEST_CASE("an empty data line is an event with empty data, and no data line is no event") {
  CHECK(data_of("data\n\n") == Texts{""});
  CHECK(data_of("data:\n\n") == Texts{""});
  CHECK(data_of("event: ping\n\nid: 4\n\n\n\n: comment\n\n").empty());
}

TEST_CASE("lines end with LF, CRLF or CR, mixed at will") {
  CHECK(data_of("data: a\r\n\r\ndata: b\n\ndata: c\r\rdata: d\r\n\ndata: e\n\r\n") ==
        Texts{"a", "b", "c", "d", "e"});
}

TEST_CASE("an event that ends with CR is given at once, without waiting for a line feed") {
  CHECK(data_of("data: a\r\r") == Texts{"a"});
}

TEST_CASE("comments, unknown fields and retry are skipped") {
  CHECK(data_of(": keep-alive\n\n:\nretry: 10\nfoo: bar\ndatax: no\n data: no\ndata: yes\n\n") ==
        Texts{"yes"});
}

TEST_CASE("the event field names one event; the id stays until another one comes") {
  const Parsed parsed = parse({"event: delta\nid: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n"});
  CHECK(parsed.events == std::vector<Seen>{{"delta", "a", "7"}, {"", "b", "7"}, {"", "c", ""}});
}

TEST_CASE("an id with a NUL is ignored") {
  const Parsed parsed = parse({"id: 1\nid: 2\0\ndata: a\n\n"sv});
  CHECK(parsed.events == std::vector<Seen>{{"", "a", "1"}});
}

TEST_CASE("a byte order mark is dropped at the start of the stream and nowhere else") {
  CHECK(data_of("\xEF\xBB\xBF"
                "data: a\n\n\xEF\xBB\xBF"
                "data: b\n\ndata: c\n\n") == Texts{"a", "c"});
}

TEST_CASE("an event that the end of the stream cuts off is dropped") {
  CHECK(data_of("data: a\n\ndata: b\n") == Texts{"a"});
}

TEST_CASE("bytes that are not UTF-8 are passed on as they came") {
  CHECK(data_of("data: \xFF\xC3\n\n") == Texts{"\xFF\xC3"});
}

TEST_CASE("however a stream is cut, the events are the same") {
  const std::vector<std::string> streams = {
      "\xEF\xBB\xBF"
      "data: one\r\n\r\n: comment\r\ndata: two\r\ndata: zw\xC3\xB6lf\r\n\r\n",
      "event: a\ndata:x\n\n\n\nid: 5\rdata: y\r\rdata\r\n\r\ndata: \xF0\x9F\x98\x80\n\n",
      "data: first\ndata: second\n\nretry: 5\ndata:\n\ndata: last\n",
      "data: exactly twenty byt\n\ndata: 12345678901234567890\ndata: too much\n\ndata: never\n\n",
      ":" + std::string(60, 'c') + "\n\ndata: after a line that is too long\n\n",
  };
  for (const std::string& stream : streams) {
    CAPTURE(stream);
    const std::size_t limit = 26;
    const Parsed whole = parse({stream}, limit);
    const std::string_view text = stream;
    for (std::size_t first = 0; first <= text.size(); ++first) {
      for (std::size_t second = first; second <= text.size(); ++second) {
        const Parsed cut =
            parse({text.substr(0, first), text.substr(first, second - first), text.substr(second)},
                  limit);
        if (!(cut == whole)) {
          FAIL("differs when cut at " << first << " and " << second);
        }
      }
    }
    std::vector<std::string_view> bytes;
    for (std::size_t at = 0; at < text.size(); ++at) bytes.push_back(text.substr(at, 1));
    CHECK(parse(bytes, limit) == whole);
  }
}

TEST_CASE("an event above the limit is an error, in one line or in many") {
  CHECK(parse({"data: 123456\n\n"}, 12).events.size() == 1);
  CHECK(parse({"data: 1234567\n\n"}, 12).error == ErrorCode::too_large);
  CHECK(parse({"data:12345\ndata:12345\ndata:1\n\n"}, 12).error == ErrorCode::too_large);
  CHECK(parse({"data: no end of the line comes"}, 12).error == ErrorCode::too_large);
}

TEST_CASE("an error of the callback ends the parse and comes back") {
  SseParser parser;
  int events = 0;
  const Result<void> fed =
      parser.feed("data: a\n\ndata: b\n\n", [&](const SseEvent&) -> Result<void> {
        ++events;
        return fail(ErrorCode::protocol, "enough");
      });
  REQUIRE(!fed);
  CHECK(fed.error().message == "enough");
  CHECK(events == 1);
}

}  // namespace
}  // namespace moderato
