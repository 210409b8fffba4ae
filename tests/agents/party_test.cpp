#include <doctest/doctest.h>

#include <stdexcept>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;

TEST_CASE("what is changed for a session changes nothing elsewhere") {
  Simulation world;
  Session session(world);
  std::vector<Lines> prompts;
  AssistantAgent alice({.name = "alice", .system_message = "s", .model = listens(world, prompts)});
  const UserProxyAgent user = quiet_user();
  Party here(session, alice);
  here.update_system_message("a poet");
  user.initiate_chat(alice, "x", {.max_turns = 1, .session = &session});
  user.initiate_chat(alice, "x", {.max_turns = 1});
  CHECK(prompts.at(0)[0] == "system : a poet");
  CHECK(prompts.at(1)[0] == "system : s");
  here.update_system_message("a critic");
  user.initiate_chat(alice, "y", {.max_turns = 1, .session = &session});
  CHECK(prompts.at(2) ==
        Lines{"system : a critic", "user user: x", "assistant alice: ok", "user user: y"});
}

TEST_CASE("caps can be changed for a session, for all peers or for one") {
  Simulation world;
  Session session(world);
  AssistantAgent alice({.name = "alice", .model = repeats(world, "a")});
  const UserProxyAgent user = quiet_user();
  const UserProxyAgent other = quiet_user();
  Party here(session, alice);
  here.update_max_consecutive_auto_reply(2, user);
  CHECK(here.max_consecutive_auto_reply(user) == 2);
  CHECK(here.max_consecutive_auto_reply(other) == 10);
  const ChatResult chat = user.initiate_chat(alice, "x", {.session = &session});
  CHECK(chat.stop.agent == "alice");
  CHECK(chat.calls == 2);
  here.update_max_consecutive_auto_reply(1);
  CHECK(here.max_consecutive_auto_reply(user) == 1);
}

TEST_CASE("a send goes on with an open conversation, and only stores where none is open") {
  Simulation world;
  Session session(world);
  AssistantAgent alice(
      {.name = "alice", .model = says(world, {"one", "TERMINATE", "two", "TERMINATE"})});
  const UserProxyAgent user = quiet_user();
  Party here(session, user);
  CHECK(here.send(alice, Message::user("before")).reason == StopReason::none);
  CHECK(Party(session, alice).history(user).size() == 1);
  user.initiate_chat(alice, "hello", {.session = &session, .clear_history = true});
  CHECK(here.send(alice, Message::user("again")).reason == StopReason::termination_message);
  CHECK(here.history(alice).size() == 8);
  CHECK(here.send(alice, Message::user("quiet"), false).reason == StopReason::none);
  CHECK(here.send(alice, Message{}).reason == StopReason::invalid_message);
  CHECK(here.history(alice).size() == 9);
}

TEST_CASE("the last message is found for a peer, or for the only one") {
  Simulation world;
  Session session(world);
  AssistantAgent alice({.name = "alice", .model = repeats(world, "TERMINATE")});
  const UserProxyAgent user = quiet_user();
  const UserProxyAgent carol({.name = "carol", .human_input_mode = HumanInputMode::never});
  const Party here(session, alice);
  CHECK(here.last_message().value() == nullptr);
  CHECK(!here.last_message(user));
  user.initiate_chat(alice, "x", {.session = &session});
  CHECK((*here.last_message().value())->text() == "TERMINATE");
  carol.initiate_chat(alice, "y", {.session = &session});
  CHECK(!here.last_message());
  CHECK((*here.last_message(carol).value())->text() == "TERMINATE");
  CHECK(here.peers() == std::vector<ConversableAgent>{user, carol});
}

TEST_CASE("a cleared history may keep its newest messages, but no answer without its call") {
  Simulation world;
  Session session(world);
  const Tool echo = tool(
      "echo", "says it again", [](std::string text) { return text; }, arg("text"));
  AssistantAgent alice({.name = "alice",
                        .model = says(world, {calls("echo", R"({"text":"t"})"), "TERMINATE"}),
                        .tools = {echo}});
  const UserProxyAgent user = quiet_user();
  user.initiate_chat(alice, "x", {.session = &session});
  Party here(session, alice);
  here.clear_history(2);
  CHECK(here.history(user).size() == 3);
  CHECK((*here.history(user).front())->has_calls());
  here.clear_history(user);
  CHECK(here.history(user).empty());
  CHECK(Party(session, user).history(alice).size() == 4);
}

TEST_CASE("a reset forgets histories and counters and closes open conversations") {
  Simulation world;
  Session session(world);
  AssistantAgent alice({.name = "alice", .model = says(world, {"a", "TERMINATE", "b"})});
  const UserProxyAgent user = quiet_user();
  user.initiate_chat(alice, "x", {.session = &session});
  Party here(session, alice);
  CHECK(here.consecutive_auto_replies(user) == 2);
  here.reset();
  CHECK(here.consecutive_auto_replies(user) == 0);
  CHECK(Party(session, user).send(alice, Message::user("again")).reason == StopReason::none);
  CHECK(here.history(user).size() == 1);
}

TEST_CASE("generate_reply answers given messages and stores nothing") {
  Simulation world;
  Session session(world);
  AssistantAgent alice({.name = "alice",
                        .model = repeats(world, "model"),
                        .replies = {{.reply = [](const ReplyRequest&) { return Reply::say("x"); },
                                     .trigger = "somebody"}}});
  Party here(session, alice);
  const auto nobody = here.generate_reply({.messages = {Message::user("q")}});
  REQUIRE(!nobody);  // a name trigger needs a sender
  CHECK(nobody.error().code == ErrorCode::invalid_request);
  CHECK(!here.generate_reply());
  const UserProxyAgent user = quiet_user();
  const auto answer = here.generate_reply({.messages = {Message::user("q")}, .sender = &user});
  REQUIRE(answer);
  CHECK((*answer)->text() == "model");
  const auto ended =
      here.generate_reply({.messages = {Message::user("TERMINATE")}, .sender = &user});
  REQUIRE(ended);
  CHECK(!*ended);
  const auto forced = here.generate_reply({.messages = {Message::user("TERMINATE")},
                                           .sender = &user,
                                           .exclude = {BuiltInReply::check_termination}});
  CHECK((**forced).text() == "model");
  CHECK(here.history(user).empty());
}
