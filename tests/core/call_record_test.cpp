#include <doctest/doctest.h>

#include <moderato/core/call_record.hpp>
#include <moderato/core/json.hpp>

using namespace moderato;
using namespace std::chrono_literals;

TEST_CASE("a call record is read back as it was written") {
  const CallRecord record{.session = "s",
                          .attempt = 2,
                          .latency = 1500ms,
                          .sent_at = WallTime(1'700'000'000s) + 250ms,
                          .retry_after = 2s};
  const auto again = call_record_from_json(to_json(record));
  REQUIRE(again);
  CHECK(again->sent_at == record.sent_at);
  CHECK(again->latency == record.latency);
  CHECK(again->retry_after == record.retry_after);
}

TEST_CASE("times beyond what can be counted are as if they were not known") {
  for (const char* text : {"4052-01-01T00:00:00.000Z", "2024-13-45T00:00:00.000Z",
                           "99999999999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "soon", ""}) {
    CAPTURE(std::string(text));
    const auto read = call_record_from_json(
        {{"session", "s"}, {"sent_at", text}, {"latency_ms", 1e300}, {"retry_after_ms", -1e300}});
    REQUIRE(read);
    CHECK(read->sent_at == WallTime{});
    CHECK(read->latency == 0s);
    CHECK(read->retry_after == Duration::zero());
  }
}
