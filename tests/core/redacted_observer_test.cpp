#include <doctest/doctest.h>

#include <algorithm>

#include <moderato/core/redacted_observer.hpp>
#include <sstream>
#include <stdexcept>

using namespace moderato;

namespace {

constexpr const char* secret = "Ada Lovelace, 12 Fjord Street";

std::string without_ada(std::string_view text) {
  std::string shown(text);
  for (std::size_t at = 0; (at = shown.find(secret, at)) != std::string::npos;) {
    shown.replace(at, std::string_view(secret).size(), "[name]");
  }
  return shown;
}

Message telling() {
  Message message = Message::assistant(std::string("For ") + secret);
  message.tool_calls.push_back({"call_1", "send", std::string(R"({"to": ")") + secret + "\"}"});
  message.function_call = FunctionCall{"send", secret};
  message.tool_responses.push_back({.tool_call_id = "call_0", .content = secret});
  message.refusal = secret;
  message.context = {{"who", secret}};
  return message;
}

/// One event of every kind that carries words.
std::vector<EventData> events() {
  Error error{.code = ErrorCode::invalid_request, .message = secret};
  return {
      MessageAdded{{.speaker = "writer", .recipient = "user", .message = store(telling())}},
      TokenDelta{.agent = "writer", .text = secret},
      ToolStarted{.agent = "writer", .tool = "send", .arguments = secret},
      ToolProgress{.agent = "writer", .tool = "send", .text = secret},
      ToolFinished{.agent = "writer", .tool = "send", .result = secret},
      HumanAsked{.agent = "user", .prompt = secret},
      HumanAnswered{.agent = "user", .input = secret},
      LoopSuspected{.agent = "writer", .evidence = secret},
      CallRejected{.error = error},
      CallRetried{.agent = "writer", .why = secret},
      Warning{.text = secret},
      Stopped{.stop = {.reason = StopReason::model_error, .detail = secret, .error = error}},
  };
}

std::string told(const Redact& redact) {
  std::ostringstream out;
  const Observer observer = redacted(json_lines(out), redact);
  for (EventData& data : events()) observer(Event{.session = "s", .data = std::move(data)});
  return out.str();
}

}  // namespace

TEST_CASE("a redacted observer sees the content of no event, and all the rest") {
  const std::string shown = told(without_ada);
  CAPTURE(shown);
  CHECK(shown.find("Lovelace") == std::string::npos);
  CHECK(shown.find("[name]") != std::string::npos);
  CHECK(shown.find("writer") != std::string::npos);
  CHECK(shown.find("call_1") != std::string::npos);
  // Every event but the token delta.
  CHECK(std::count(shown.begin(), shown.end(), '\n') ==
        static_cast<std::ptrdiff_t>(events().size()) - 1);
}

TEST_CASE("a redaction that throws shows nothing") {
  const std::string shown =
      told([](std::string_view) -> std::string { throw std::runtime_error("broken"); });
  CHECK(shown.find("Lovelace") == std::string::npos);
  CHECK(shown.find("[redacted]") != std::string::npos);
}

TEST_CASE("what others see, and what is stored, stays as it is") {
  const MessagePtr message = store(telling());
  std::string seen;
  const Observer both = redacted([](const Event&) {}, without_ada) | Observer([&](const Event& e) {
                          seen = (*std::get<MessageAdded>(e.data).entry.message)->text();
                        });
  both(Event{.data = MessageAdded{{.message = message}}});
  CHECK(seen == std::string("For ") + secret);
  CHECK((*message)->refusal == secret);
}
