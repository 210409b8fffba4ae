#include <doctest/doctest.h>

#include <stdexcept>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

ReplyFunction answers(std::string text) {
  return [text = std::move(text)](const ReplyRequest&) { return Reply::say(text); };
}

std::string answer_of(const AssistantAgent& agent, std::string opening = "hello") {
  const ChatResult chat = quiet_user().initiate_chat(agent, std::move(opening), {.max_turns = 1});
  return chat.transcript.size() == 2 ? (*chat.transcript[1].message)->text()
                                     : std::string(to_string(chat.stop.reason));
}

}  // namespace

TEST_CASE("a reply function's position decides what comes before it") {
  Simulation world;
  const Model model = repeats(world, "model");
  const auto at = [&](std::size_t position, std::string opening) {
    return answer_of(
        AssistantAgent({.name = "alice",
                        .model = model,
                        .replies = {{.reply = answers("custom"), .position = position}}}),
        std::move(opening));
  };
  CHECK(at(0, "TERMINATE") == "custom");
  CHECK(at(1, "TERMINATE") == "custom");
  CHECK(at(2, "TERMINATE") == "termination_message");
  CHECK(at(2, "hello") == "custom");
  CHECK(at(99, "hello") == "model");
}

TEST_CASE("a later reply function comes first, and one that passes leaves it to the next") {
  Simulation world;
  AssistantAgent alice({.name = "alice",
                        .model = repeats(world, "model"),
                        .replies = {{.reply = answers("first")},
                                    {.reply = [](const ReplyRequest&) { return Reply::pass(); }},
                                    {.reply = answers("third")}}});
  CHECK(answer_of(alice) == "third");
  AssistantAgent alone({.name = "alice",
                        .model = repeats(world, "model"),
                        .replies = {{.reply = answers("only"), .remove_other_reply_funcs = true}}});
  CHECK(answer_of(alone, "TERMINATE") == "only");
}

TEST_CASE("a trigger says whose messages a reply function answers") {
  Simulation world;
  const Model model = repeats(world, "model");
  const UserProxyAgent friendly = quiet_user();
  const auto with = [&](Trigger trigger) {
    AssistantAgent alice(
        {.name = "alice",
         .model = model,
         .replies = {{.reply = answers("custom"), .trigger = std::move(trigger)}}});
    const ChatResult chat = friendly.initiate_chat(alice, "hello", {.max_turns = 1});
    return (*chat.transcript.back().message)->text();
  };
  CHECK(with("user") == "custom");
  CHECK(with("somebody") == "model");
  CHECK(with(friendly) == "custom");
  CHECK(with(quiet_user()) == "model");  // of the same name, but another agent
  CHECK(with(Trigger::no_sender()) == "model");
  CHECK(with(std::vector<Trigger>{"x", "user"}) == "custom");
  CHECK(with(Trigger([](const ConversableAgent& sender) {
          return sender.kind() == AgentKind::user_proxy;
        })) == "custom");
}

TEST_CASE("a null reply ends the chat") {
  Simulation world;
  AssistantAgent alice(
      {.name = "alice", .replies = {{.reply = [](const ReplyRequest&) { return Reply::none(); }}}});
  const ChatResult chat = quiet_user().initiate_chat(alice, "hello");
  CHECK(chat.stop.reason == StopReason::no_reply);
  CHECK(chat.stop.agent == "alice");
}

TEST_CASE("what a user's function throws ends the chat, with its words and the transcript so far") {
  Simulation world;
  const auto fails = []() -> void { throw std::runtime_error("broken"); };
  AssistantOptions options{.name = "alice", .model = repeats(world, "a")};
  const auto stopped = [&](auto change) {
    AssistantOptions changed = options;
    change(changed);
    const ChatResult chat =
        quiet_user().initiate_chat(AssistantAgent(std::move(changed)), "hello", {.max_turns = 2});
    CHECK(chat.stop.detail.find("broken") != std::string::npos);
    CHECK(!chat.transcript.empty());
    return chat.stop.reason;
  };
  CHECK(stopped([&](auto& o) {
          o.replies.push_back(
              {.reply = [=](const ReplyRequest&) { return fails(), Reply::pass(); }});
        }) == StopReason::callback_error);
  CHECK(stopped([&](auto& o) {
          o.hooks.process_message_before_send.push_back(
              [=](const ConversableAgent&, const ConversableAgent&, Message message) {
                return fails(), message;
              });
        }) == StopReason::callback_error);
  CHECK(stopped([&](auto& o) {
          o.hooks.process_last_received_message.push_back(
              [=](const Content& content) { return fails(), content; });
        }) == StopReason::callback_error);
  CHECK(stopped([&](auto& o) {
          o.hooks.process_all_messages_before_reply.push_back(
              [=](MessageList messages) { return fails(), messages; });
        }) == StopReason::callback_error);
  CHECK(stopped([&](auto& o) {
          o.is_termination_msg = predicate("p", [=](const Message&) { return fails(), false; });
        }) == StopReason::callback_error);
}

TEST_CASE(
    "a throwing message function, summary function, condition or observer throws nothing out") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = repeats(world, "a")});
  const UserProxyAgent user = quiet_user();
  const ChatResult unopened = user.initiate_chat(
      alice, [](const OpeningRequest&) -> Message { throw std::runtime_error("no idea"); });
  CHECK(unopened.stop.reason == StopReason::callback_error);

  const ChatResult unsummed = user.initiate_chat(
      alice, "hello",
      {.max_turns = 1, .summary_method = [](const SummaryRequest&) -> std::string { throw 1; }});
  CHECK(unsummed.stop.reason == StopReason::max_turns);
  CHECK(unsummed.summary_error);

  const ChatResult unconditional = user.initiate_chat(
      alice, "hello",
      {.termination = view_predicate("p", [](const ConversationView&) -> bool { throw 1; })});
  CHECK(unconditional.stop.reason == StopReason::callback_error);
  CHECK(unconditional.transcript.empty());  // it is asked before the first word, too

  const ChatResult unobserved = user.initiate_chat(
      alice, "hello", {.max_turns = 1, .observer = Observer([](const Event&) { throw 1; })});
  CHECK(unobserved.stop.reason == StopReason::max_turns);
}

TEST_CASE("hooks see the whole history, and change what is sent but not what is stored") {
  Simulation world;
  Session session(world);
  std::vector<Lines> prompts;
  AssistantAgent alice({.name = "alice",
                        .system_message = "s",
                        .model = listens(world, prompts),
                        .hooks = {.process_all_messages_before_reply = {[](MessageList messages) {
                                    return MessageList{messages.back()};
                                  }}}});
  const UserProxyAgent user = quiet_user("more");
  user.initiate_chat(alice, "hello", {.max_turns = 2, .session = &session});
  CHECK(prompts == std::vector{Lines{"system : s", "user user: hello"},
                               Lines{"system : s", "user user: more"}});
  CHECK(Party(session, alice).history(user).size() == 4);
}
