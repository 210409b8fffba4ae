#include <moderato/core/console_printer.hpp>

#include <doctest/doctest.h>

#include <cstdlib>

namespace moderato {
namespace {

using namespace std::chrono_literals;

/// What is printed for a list of events.
std::string printed(const std::vector<EventData>& events, ConsoleOptions options = {}) {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* file = ::open_memstream(&text, &size);
  REQUIRE(file != nullptr);
  {
    const Observer printer = console_printer(file, options);
    for (const EventData& data : events) printer(Event{.data = data});
    CHECK(printer.failures() == 0);
  }
  std::fclose(file);
  std::string out(text, size);
  std::free(text);  // NOLINT: open_memstream allocates with malloc
  return out;
}

MessageAdded said(std::string speaker, std::string text, MessageKind kind = MessageKind::reply) {
  return {{.speaker = std::move(speaker),
           .kind = kind,
           .message = store(Message::assistant(std::move(text)))}};
}

TEST_CASE("speakers, texts and the stop are blocks of their own") {
  const Stopped stopped{
      .stop = {.reason = StopReason::max_turns}, .calls = 1, .usage = {.input = 9, .output = 3}};
  CHECK(printed({ChatStarted{"user", "assistant"}, said("user", "Hello"),
                 said("assistant", "Hello to you."), stopped}) ==
        "user\nHello\n\nassistant\nHello to you.\n\n  · stopped: max_turns; 1 calls, 12 tokens\n");
}

TEST_CASE("a streamed text is not printed again when its message is complete") {
  CHECK(printed({CallSent{.agent = "a"}, TokenDelta{"a", "Good "}, TokenDelta{"a", "day."},
                 said("a", "Good day."), said("b", "And to you.")}) ==
        "a\nGood day.\n\nb\nAnd to you.\n");
}

TEST_CASE("a warning in the middle of a stream does not make its text appear twice") {
  CHECK(printed({TokenDelta{"a", "Good "}, Warning{"careful"}, TokenDelta{"a", "day."},
                 said("a", "Good day.")}) == "a\nGood \n\n  · careful\n\na\nday.\n");
}

TEST_CASE("a reply that was changed after streaming, or streamed anew, is shown as it was said") {
  CHECK(printed({TokenDelta{"a", "draft"}, said("a", "final")}) == "a\ndraft\n\na\nfinal\n");
  const std::string again =
      printed({CallSent{.agent = "a"}, TokenDelta{"a", "Go"},
               CallRetried{.agent = "a", .delay = 500ms, .why = "connection: broke"},
               CallSent{.agent = "a", .attempt = 2}, TokenDelta{"a", "Good."}, said("a", "Good.")});
  CHECK(again == "a\nGo\n\n  · a tries again in 0.50 s: connection: broke\n\na\nGood.\n");
}

TEST_CASE("a tool call is folded to one line, calls at once to one line each way") {
  const Message calls{.content = nullptr, .tool_calls = {{"1", "add", "{}"}}};
  CHECK(printed({MessageAdded{{.speaker = "a", .message = store(calls)}},
                 ToolStarted{"b", "add", R"({"x":1})", "1"},
                 ToolFinished{.tool = "add", .call_id = "1", .took = 250ms, .result = "2\nmore"},
                 said("b", "2\nmore", MessageKind::tool_result), said("a", "It is 2.")}) ==
        "  · add({\"x\":1}) → 2 … (0.25 s)\n\na\nIt is 2.\n");
  CHECK(printed({ToolStarted{"b", "f", "", "1"}, ToolStarted{"b", "g", "", "2"},
                 ToolFinished{.tool = "f", .call_id = "1", .result = "one"},
                 ToolFinished{.tool = "g", .call_id = "2", .ok = false, .result = "no disk"}}) ==
        "  · f()\n  · g()\n  · f → one (0.00 s)\n  · g failed: no disk (0.00 s)\n");
}

TEST_CASE("a refusal is told once: by its retry, by the stop, or else by itself") {
  const CallRejected rejected{.record = {}, .error = {.code = ErrorCode::overloaded}};
  CHECK(printed({rejected, CallRetried{.agent = "a", .delay = 1s, .why = "overloaded"}}) ==
        "  · a tries again in 1.00 s: overloaded\n");
  const Stop stop{.reason = StopReason::model_error, .error = rejected.error};
  CHECK(printed({rejected, Stopped{.stop = stop}}) ==
        "  · stopped: model_error (overloaded); 0 calls, 0 tokens\n");
  CHECK(printed({rejected, said("a", "Hello")}) == "  · overloaded\n\na\nHello\n");
}

TEST_CASE("waits are shown unless they are unwanted") {
  CallQueued queued{.agent = "a", .reason = "requests", .expected_wait = 210ms};
  CHECK(printed({queued}) == "  · a waits 0.21 s for room (requests)\n");
  queued.expected_wait = 0s;  // for a call to end: nobody knows how long that takes
  CHECK(printed({queued}) == "  · a waits for room (requests)\n");
  CHECK(printed({queued}, {.show_limits = false}).empty());
}

TEST_CASE("control characters of a reply do not reach the terminal, other characters do") {
  CHECK(printed({said("a", "\x1b[2Jclean\r\n\tgr\u00fcn \u009b2J\x7f")}) ==
        "a\n[2Jclean\n\tgr\u00fcn 2J\n");
}

TEST_CASE("there is no colour in a file unless it is asked for") {
  const std::vector<EventData> events{said("a", "Hello"), Warning{"careful"}};
  CHECK(printed(events).find('\x1b') == std::string::npos);
  CHECK(printed(events, {.colour = Colour::always}) ==
        "\x1b[1;36ma\x1b[0m\nHello\n\n\x1b[33m  · careful\x1b[0m\n");
}

TEST_CASE("a long tool result is cut between characters") {
  const ToolFinished finished{.tool = "f", .call_id = "1", .result = "a\u00fc\u00fc"};
  CHECK(printed({finished}, {.max_tool_text = 2}) == "  · f → a … (0.00 s)\n");
}

}  // namespace
}  // namespace moderato
