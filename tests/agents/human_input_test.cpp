#include <doctest/doctest.h>

#include <unistd.h>

#include <array>
#include <stdexcept>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

UserProxyAgent person(HumanInputMode mode, HumanInput input, std::int64_t cap = 10) {
  return UserProxyAgent({.name = "user",
                         .human_input_mode = mode,
                         .max_consecutive_auto_reply = cap,
                         .default_auto_reply = "automatic",
                         .human_input = std::move(input)});
}

/// Standard input is what was written to the pipe, for as long as this lives.
class PipedInput {
 public:
  PipedInput() : saved_(::dup(STDIN_FILENO)) {
    REQUIRE(::pipe(ends_.data()) == 0);
    REQUIRE(::dup2(ends_[0], STDIN_FILENO) == STDIN_FILENO);
  }
  PipedInput(const PipedInput&) = delete;
  PipedInput& operator=(const PipedInput&) = delete;
  ~PipedInput() {
    close();
    ::dup2(saved_, STDIN_FILENO);
    ::close(saved_);
    ::close(ends_[0]);
  }
  void write(std::string_view text) {
    REQUIRE(::write(ends_[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void close() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }

 private:
  int saved_;
  std::array<int, 2> ends_{};
};

}  // namespace

TEST_CASE("a person who is always asked answers, skips, and ends the chat") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {"one", "two", "three"})});
  const UserProxyAgent user =
      person(HumanInputMode::always, scripted_input({"my words", "", "exit"}));
  const ChatResult chat = user.initiate_chat(alice, "hello");
  CHECK(spoken(chat.transcript) == Lines{"user: hello", "alice: one", "user: my words",
                                         "alice: two", "user: automatic", "alice: three"});
  CHECK(chat.stop.reason == StopReason::human_exit);
  CHECK(chat.human_inputs == Lines{"my words", "", "exit"});
}

TEST_CASE("in mode terminate a person is asked at the cap and at a termination message only") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {"a", "b", "TERMINATE", "c"})});
  std::vector<HumanSituation> asked;
  const UserProxyAgent user =
      person(HumanInputMode::terminate, HumanInput([&](const HumanPrompt& prompt) -> std::string {
               asked.push_back(prompt.situation);
               return asked.size() == 1 ? "more" : "";
             }),
             1);
  const ChatResult chat = user.initiate_chat(alice, "hello");
  CHECK(asked == std::vector{HumanSituation::at_cap, HumanSituation::on_termination});
  CHECK(chat.stop.reason == StopReason::human_skip_on_termination);
  CHECK(spoken(chat.transcript) == Lines{"user: hello", "alice: a", "user: automatic", "alice: b",
                                         "user: more", "alice: TERMINATE"});
}

TEST_CASE("a person who answers instead of the tools interrupts every call") {
  Simulation world;
  Session session(world);
  AssistantAgent alice({.name = "alice", .model = says(world, {calls("f", "{}", "c1"), "ok"})});
  const UserProxyAgent user = person(HumanInputMode::always, scripted_input({"no", "exit"}));
  user.initiate_chat(alice, "hello", {.session = &session});
  const Message& reply = **Party(session, user).history(alice).at(2);
  REQUIRE(reply.tool_responses.size() == 1);
  CHECK(reply.tool_responses[0].tool_call_id == "c1");
  CHECK(reply.tool_responses[0].content == "USER INTERRUPTED");
  CHECK(reply.text() == "no");
}

TEST_CASE("an opening message may be typed, and the carryover is added to it") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {"TERMINATE"})});
  const UserProxyAgent user = person(HumanInputMode::never, scripted_input({"typed"}));
  const ChatResult chat =
      user.initiate_chat(alice, ChatMessage::ask_human(), {.carryover = {"one", "two"}});
  CHECK((*chat.transcript.at(0).message)->text() == "typed\nContext: \none\ntwo");
  CHECK(chat.human_inputs == Lines{"typed"});
}

TEST_CASE("a human input that fails, interrupts or throws ends the chat and keeps the transcript") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = repeats(world, "a")});
  const auto stop_with = [&](HumanInput input) {
    const ChatResult chat =
        person(HumanInputMode::always, std::move(input)).initiate_chat(alice, "hello");
    CHECK(chat.transcript.size() == 2);
    return chat.stop;
  };
  CHECK(stop_with(scripted_input({})).reason == StopReason::human_error);
  CHECK(stop_with(HumanInput([](const HumanPrompt&) -> Result<std::string> {
          return fail(ErrorCode::cancelled, "ctrl-C");
        })).reason == StopReason::cancelled);
  const Stop thrown = stop_with(HumanInput([](const HumanPrompt&) -> Result<std::string> {
    throw std::runtime_error("the window is gone");
  }));
  CHECK(thrown.reason == StopReason::human_error);
  CHECK(thrown.detail.find("the window is gone") != std::string::npos);
}

TEST_CASE("the console reads lines, and says when there are no more") {
  PipedInput input;
  input.write("first\r\nsecond\nlast");
  input.close();
  const HumanInput console = console_input();
  CHECK(console(HumanPrompt{}) == "first");
  CHECK(console(HumanPrompt{}) == "second");
  CHECK(console(HumanPrompt{}) == "last");
  const auto ended = console(HumanPrompt{});
  REQUIRE(!ended);
  CHECK(ended.error().code == ErrorCode::human_unavailable);
}

TEST_CASE("a stop request wakes a person's prompt that nobody answers") {
  PipedInput input;
  std::stop_source stop;
  Runtime runtime;
  AssistantAgent alice({.name = "alice", .model = repeats(runtime, "a")});
  UserProxyAgent user({.name = "user",
                       .human_input_mode = HumanInputMode::always,
                       .human_input = HumanInput([&](const HumanPrompt& prompt) {
                         stop.request_stop();  // while the console waits
                         return console_input()(prompt);
                       })});
  const ChatResult chat = user.initiate_chat(alice, "hello", {.stop = stop.get_token()});
  CHECK(chat.stop.reason == StopReason::cancelled);
  CHECK(chat.transcript.size() == 2);
}

TEST_CASE("a prompt ends with the chat's deadline") {
  PipedInput input;
  Runtime runtime;
  AssistantAgent alice({.name = "alice", .model = repeats(runtime, "a")});
  UserProxyAgent user({.name = "user", .human_input_mode = HumanInputMode::always});
  const ChatResult chat = user.initiate_chat(
      alice, "hello", {.deadline = runtime.clock().now() + std::chrono::milliseconds(30)});
  CHECK(chat.stop.reason == StopReason::deadline);
}
