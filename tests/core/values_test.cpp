#include <doctest/doctest.h>

#include <moderato/core/call_context.hpp>
#include <moderato/core/digest.hpp>
#include <moderato/core/secret.hpp>
#include <sstream>

namespace moderato {
namespace {

using namespace std::chrono_literals;

TEST_CASE("every error code has a name of its own that leads back to it") {
  for (int i = 0; i <= static_cast<int>(ErrorCode::internal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    CHECK(to_string(code) != "unknown");
    CHECK(error_code_from_string(to_string(code)) == code);
  }
  CHECK_FALSE(error_code_from_string("nonsense"));
}

TEST_CASE("every stop reason has a name of its own that leads back to it") {
  for (int i = 0; i <= static_cast<int>(StopReason::storage_error); ++i) {
    const auto reason = static_cast<StopReason>(i);
    CHECK(to_string(reason) != "unknown");
    CHECK(stop_reason_from_string(to_string(reason)) == reason);
  }
}

TEST_CASE("an error prints its code, its status, its words and when to come back") {
  const Error error{.code = ErrorCode::rate_limited,
                    .message = "Rate limit reached",
                    .retry_after = 424ms,
                    .http_status = 429,
                    .provider_code = "rate_limit_exceeded"};
  CHECK(to_string(error) ==
        "rate_limited (HTTP 429, rate_limit_exceeded): Rate limit reached; retry after 0.424 s");
  CHECK(to_string(Error{.code = ErrorCode::cancelled}) == "cancelled");
}

TEST_CASE("a stop prints itself") {
  const Stop stop{.reason = StopReason::condition,
                  .agent = "user_proxy",
                  .rule = "max_messages(10)",
                  .detail = "10 of 10 messages"};
  CHECK(fmt::format("{}", stop) == "condition: max_messages(10) by user_proxy (10 of 10 messages)");
  CHECK(to_string(Stop{.reason = StopReason::max_turns}) == "max_turns");
}

TEST_CASE("a stop whose detail is its error's message says it once") {
  const Error error{.code = ErrorCode::connection, .message = "no route to host"};
  CHECK(to_string(Stop{.reason = StopReason::model_error,
                       .agent = "writer",
                       .detail = "no route to host; gave up",
                       .error = error}) ==
        "model_error: by writer (connection: no route to host; gave up)");
  CHECK(to_string(Stop{.reason = StopReason::model_error, .agent = "writer", .error = error}) ==
        "model_error: by writer; connection: no route to host");
}

TEST_CASE("a secret is redacted wherever it stands") {
  const Secret key("sk-123");
  CHECK(key.redact("Bearer sk-123, again sk-123.") == "Bearer [key], again [key].");
  CHECK(Secret("").redact("text") == "text");
}

TEST_CASE("an observer that throws disturbs nobody and is counted") {
  int seen = 0;
  const Observer bad([](const Event&) { throw std::runtime_error("observer broke"); });
  const Observer good([&](const Event&) { ++seen; });
  const Observer both = bad | good;
  both(Event{.data = Warning{"x"}});
  both(Event{.data = Warning{"y"}});
  CHECK(seen == 2);
  CHECK(bad.failures() == 2);
  CHECK(bad.first_failure() == "observer broke");
}

TEST_CASE("events are written one JSON object a line") {
  std::ostringstream out;
  const Observer observer = json_lines(out);
  observer(Event{.at = Instant{} + 1500ms, .session = "s", .data = Warning{"careful"}});
  observer(Event{.data = Stopped{.stop = {.reason = StopReason::max_turns}, .calls = 2}});
  std::istringstream lines(out.str());
  std::string line;
  REQUIRE(std::getline(lines, line));
  CHECK(line == R"({"at":1.5,"session":"s","event":"warning","text":"careful"})");
  REQUIRE(std::getline(lines, line));
  CHECK(Json::parse(line)["reason"] == "max_turns");
}

TEST_CASE("nobody listens: no event is made") {
  const SteadyClock clock;
  CallContext context;
  context.notify(clock, []() -> EventData {
    FAIL("made for nobody");
    return Warning{};
  });
  context.observer = Observer([](const Event&) {});
  bool made = false;
  context.notify(clock, [&]() -> EventData {
    made = true;
    return Warning{};
  });
  CHECK(made);
}

TEST_CASE("a ledger line holds every field by name") {
  CallRecord record{.agent = "assistant", .model = "gpt", .call = 3, .attempt = 2};
  record.usage = {.input = 10, .output = 5, .source = UsageSource::measured};
  record.error = ErrorCode::rate_limited;
  record.http_status = 429;
  const Json json = to_json(record);
  CHECK(json["outcome"] == "rate_limited");
  CHECK(json["attempt"] == 2);
  CHECK(json["usage_source"] == "measured");
  CHECK(json["sent_at"] == "1970-01-01T00:00:00.000Z");
}

TEST_CASE("a price charges cached input at its own rate") {
  const Usage usage{.input = 1'000'000, .output = 500'000, .cached_input = 400'000};
  CHECK(Price{.input_per_million = 1.0, .output_per_million = 2.0}.of(usage) ==
        doctest::Approx(2.0));
  CHECK(Price{.input_per_million = 1.0, .output_per_million = 2.0, .cached_input_per_million = 0.5}
            .of(usage) == doctest::Approx(1.8));
}

TEST_CASE("digests tell texts apart, also by where they are divided") {
  CHECK(Digest().add("ab").add("c").hex() != Digest().add("a").add("bc").hex());
  CHECK(Digest().add("ab").hex() == Digest().add("ab").hex());
  CHECK(Digest().add("ab").hex().size() == 32);
  CHECK(Digest().add(std::uint64_t{1}).hex() != Digest().add(std::uint64_t{2}).hex());
}

TEST_CASE("virtual time moves forward only") {
  VirtualClock clock;
  clock.advance(5s);
  clock.advance_to(Instant{} + 3s);
  CHECK(clock.now() == Instant{} + 5s);
  CHECK(saturating_add(no_deadline, -1s) == no_deadline);
  CHECK(saturating_add(Instant{} + 1s, Duration::max()) == no_deadline);
}

}  // namespace
}  // namespace moderato
