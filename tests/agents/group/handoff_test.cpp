#include <doctest/doctest.h>

#include <moderato/agents/handoff/handoff.hpp>

#include "group_scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

struct Desk {
  Simulation world;
  UserProxyAgent user = quiet("user");
  AssistantAgent agent(const std::string& name, std::vector<ScriptedReply> replies,
                       std::vector<Tool> tools) {
    return AssistantAgent(
        {.name = name, .model = says(world, std::move(replies)), .tools = std::move(tools)});
  }
  ChatResult run(std::vector<ConversableAgent> agents, AfterWork after = AfterWork::end,
                 std::int64_t max_round = 20) {
    agents.insert(agents.begin(), user);
    return user.initiate_chat(lead({.agents = std::move(agents),
                                    .max_round = max_round,
                                    .speaker_selection_method = ByHandoff{after}}),
                              "my bill is wrong", calm());
  }
};

}  // namespace

TEST_CASE("a tool result names who works on, and that one answers") {
  Desk desk;
  const auto triage =
      desk.agent("triage", {calls("transfer_to_billing", R"({"message": "a bill"})")},
                 {handoff_to("billing", "money questions"), handoff_to("tech")});
  const auto billing = desk.agent("billing", {calls("look_up", "{}"), "Refunded."},
                                  {tool("look_up", "", [] { return "12 EUR"; })});
  const auto tech = desk.agent("tech", {}, {});
  const ChatResult chat = desk.run({triage, tech, billing});
  CHECK(speakers(chat.transcript) ==
        Lines{"user", "triage", "triage", "billing", "billing", "billing"});
  CHECK(spoken(chat.transcript).at(2) ==
        R"(triage: {"handoff_to": "billing", "message": "a bill"})");
  CHECK(chat.summary == "Refunded.");
  CHECK(chat.stop.rule == "no next speaker");
  CHECK(chat.calls == 3);
}

TEST_CASE("after its work an agent stays, or the first participant speaks and it goes on") {
  Desk desk;
  const ChatResult stays = desk.run({desk.agent("a", {"one", "two"}, {})}, AfterWork::stay, 3);
  CHECK(speakers(stays.transcript) == Lines{"user", "a", "a"});
  const ChatResult reverts =
      desk.run({desk.agent("a", {calls("transfer_to_b", "{}")}, {handoff_to("b")}),
                desk.agent("b", {"which bill?", "done"}, {})},
               AfterWork::revert, 6);
  CHECK(speakers(reverts.transcript) == Lines{"user", "a", "a", "b", "user", "b"});
}

TEST_CASE(
    "a handoff to a stranger ends the chat and names both; of two handoffs the first counts") {
  Desk desk;
  const ChatResult chat =
      desk.run({desk.agent("a", {calls("transfer_to_zed", "{}")}, {handoff_to("zed")})});
  CHECK(chat.stop.reason == StopReason::tool_error);
  CHECK(chat.stop.detail ==
        "a handed over to \"zed\", who is no participant; there are ['user', 'a']");
  Message both = calls("transfer_to_b", "{}");
  both.tool_calls.push_back({"call_2", "transfer_to_c", "{}"});
  const ChatResult two = desk.run({desk.agent("a", {both}, {handoff_to("b"), handoff_to("c")}),
                                   desk.agent("b", {"b here"}, {}), desk.agent("c", {}, {})});
  CHECK(two.summary == "b here");
}

TEST_CASE("any tool may hand over; a call that nobody can run is answered by the one at work") {
  Desk desk;
  const Tool escalate =
      tool("escalate", "", [] { return Handoff{.handoff_to = "boss_agent", .message = "help"}; });
  const ChatResult chat = desk.run({desk.agent("a", {calls("escalate", "{}")}, {escalate}),
                                    desk.agent("boss_agent", {calls("nothing", "{}"), "ok"}, {})});
  CHECK(chat.summary == "ok");
  CHECK(handoff_in("no json").has_value() == false);
  CHECK(handoff_in(R"({"handoff_to": 3})").has_value() == false);
  CHECK(handoff_in(R"({"handoff_to": "b"})")->handoff_to == "b");
  CHECK(handoff_in(R"({"handoff_to": "b", "message": "m"})")->message == "m");
  CHECK(handoff_in(R"({"handoff_to": "b", "page": "of somebody else"})").has_value() == false);
}
