#include <doctest/doctest.h>

#include <fstream>
#include <support/temporary_folder.hpp>

#include "program.hpp"
#include "report_page.hpp"

using moderato::test::TemporaryFolder;

using namespace moderato;
using namespace std::chrono_literals;

namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) {
    ++found;
  }
  return found;
}

Json said(const std::string& speaker, const std::string& text) {
  const Message message = Message::assistant(text);
  return to_json(Event{.session = "run",
                       .data = MessageAdded{{.speaker = speaker,
                                             .recipient = "user",
                                             .kind = MessageKind::reply,
                                             .message = store(message)}}});
}

CallRecord call(Duration at, Duration queued, std::optional<ErrorCode> error = {}) {
  return {.session = "run",
          .agent = "writer",
          .attempt = 1,
          .usage = {.input = 100, .output = 50},
          .queue_wait = queued,
          .latency = 2s,
          .time_to_first_token = 500ms,
          .error = error,
          .http_status = error ? 429 : 200,
          .sent_at = WallTime(1'700'000'000s) + at,
          .wait_reason = queued > 0s ? "tokens" : ""};
}

}  // namespace

TEST_CASE("a report has every part of a run, in one file that asks for nothing else") {
  const TemporaryFolder folder;
  const std::string journal = folder / "j.db";
  const std::string page_file = folder / "r.html";
  CHECK(run({"chat", "--simulate", "--token-budget", "5000", "--journal", journal, "--run", "one",
             "Review <script>alert(1)</script> & \"this\"."})
            .code == 0);
  CHECK(run({"report", "one", "--journal", journal, "-o", page_file}).code == 0);
  const std::string page = bytes_of(page_file);
  for (const char* part : {"<h1>Run one", "termination_message", "id=\"timeline\"", "id=\"tokens\"",
                           "id=\"calls\"", "id=\"waits\"", "id=\"findings\"", "id=\"transcript\"",
                           "id=\"configuration\"", "budget 5000", "The review is complete"}) {
    CAPTURE(part);
    CHECK(has(page, part));
  }
  CHECK(has(page, "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;this&quot;"));
  for (const char* part : {"<script", "src=", "href=", "@import", "url("}) {
    CAPTURE(part);
    CHECK_FALSE(has(page, part));
  }
}

TEST_CASE("what was said is shown as text, code as code, tools folded") {
  ReportData data;
  data.run.id = "<b>";
  data.events = {said("<img src=x onerror=alert(1)>", "Look:\n```cpp\nint a = 1 < 2;\n```\nDone.")};
  Message calling{.role = Role::assistant};
  calling.tool_calls.push_back({"1", "weather", "{\"city\":\"</pre>\"}"});
  data.events.push_back(
      to_json(Event{.data = MessageAdded{{.speaker = "a", .message = store(calling)}}}));
  const std::string page = report_page(data);
  CHECK(has(page,
            "<code title=\"cpp\"><i class=\"keyword\">int</i> a = <i class=\"number\">1</i> &lt;"));
  CHECK(has(page, "<summary>calls weather</summary>"));
  CHECK(has(page, "&lt;/pre&gt;"));
  CHECK_FALSE(has(page, "<img"));
  CHECK_FALSE(has(page, "<b>"));
  CHECK(has(page, "has not ended"));
}

TEST_CASE("code is coloured whatever its language, and stays text") {
  CHECK(code_html("return \"<b>\"; // 1 < 2\nx") ==
        "<i class=\"keyword\">return</i> <i class=\"string\">&quot;&lt;b&gt;&quot;</i>; "
        "<i class=\"comment\">// 1 &lt; 2</i>\nx");
  CHECK(code_html("  # a word\nif a#b: 'open") ==
        "  <i class=\"comment\"># a word</i>\n<i class=\"keyword\">if</i> a#b: &#39;open");
  CHECK(code_html("/* never closed") == "<i class=\"comment\">/* never closed</i>");
}

TEST_CASE("a line of nothing but quotes is text, however long it is") {
  std::string quotes;
  for (int i = 0; i < 300'000; ++i) quotes += "'\\";
  CHECK(code_html(quotes).find("<i") == std::string::npos);
}

TEST_CASE("the timeline has a bar for the wait, the first token and the answer of each call") {
  ReportData data;
  data.calls = {call(0s, 0s), call(3s, 1s), call(6s, 0s, ErrorCode::rate_limited)};
  const std::string drawing = timeline_drawing(data);
  CHECK(count(drawing, "class=\"queued\"") == 1);
  CHECK(count(drawing, "class=\"sent\"") == 3);
  CHECK(count(drawing, "class=\"answered\"") == 2);
  CHECK(count(drawing, "class=\"refused\"") == 1);
  CHECK(has(drawing, "waited 1.00 s for tokens"));
  CHECK(has(token_drawing(data), "450 tokens"));
  CHECK(timeline_drawing({}).empty());
}

TEST_CASE("tools stand on the timeline where they ran, the cost and the quota over time") {
  ReportData data;
  data.calls = {call(0s, 0s), call(10s, 0s)};
  data.calls[0].cost = 0.25;
  data.calls[0].limit_tokens = 1000;
  data.calls[0].remaining_tokens = 600;
  CHECK(level_drawing({}).empty());
  const auto event = [&](Duration at, EventData what) {
    data.events.push_back(to_json(Event{.at = Instant(at), .data = std::move(what)}));
  };
  event(100s, CallSent{.agent = "writer", .attempt = 1});
  event(107s, ToolFinished{.agent = "writer", .tool = "<dig>", .took = 4s});
  event(108s, ToolFinished{.agent = "runner", .tool = "run", .ok = false, .took = 1s});
  event(110s, CallSent{.agent = "writer", .attempt = 1});
  // From 0 s to 12 s on 1,000 units: the tool ran from 3 s to 7 s.
  const std::string drawing = timeline_drawing(data);
  CHECK(has(drawing, "class=\"tool\" x=\"250.0\" y=\"62\" width=\"333.3\""));
  CHECK(has(drawing, "tool &lt;dig&gt;: 4.00 s"));
  CHECK(has(drawing, "class=\"tool refused\""));
  CHECK(has(drawing, ">runner</text>"));
  const std::string tokens = token_drawing(data);
  CHECK(has(tokens, "cost 0.250000"));
  CHECK(has(tokens, "class=\"cost\" points=\"0,180.0 166.7,180.0 166.7,90.0 1000.0,90.0"));
  CHECK(has(level_drawing(data), "tokens left: 60 %"));
  data.calls.clear();
  CHECK(timeline_drawing(data).empty());
}

TEST_CASE("a run that died in a later chat has not ended, one with chats within chats has") {
  ReportData data;
  data.run.id = "run";
  const auto event = [&](EventData what) {
    data.events.push_back(to_json(Event{.session = "run", .data = std::move(what)}));
  };
  const Stopped stopped{.stop = {.reason = StopReason::max_turns, .rule = "max_turns(2)"}};
  event(ChatStarted{});
  event(ChatStarted{});
  event(stopped);
  CHECK(has(report_page(data), "The run has not ended: moderato resume run"));
  event(stopped);
  CHECK_FALSE(has(report_page(data), "has not ended"));
  event(ChatStarted{});
  CHECK(has(report_page(data), "has not ended"));
}

TEST_CASE("a report of ten thousand messages has all of them") {
  ReportData data;
  for (int i = 0; i < 10'000; ++i) {
    data.events.push_back(said("writer", "Message number " + std::to_string(i)));
  }
  const std::string page = report_page(data);
  CHECK(count(page, "class=\"message s0\"") == 10'000);
  CHECK(page.size() < 3'000'000);
}
