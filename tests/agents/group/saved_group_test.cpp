#include <doctest/doctest.h>

#include <moderato/agents/graph/graph_agent.hpp>
#include <moderato/agents/handoff/handoff.hpp>
#include <moderato/agents/session_json.hpp>

#include "group_scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

// Saved and read back as text, as a store does.
Json stored(Session& session) {
  const auto saved = save_session(session);
  REQUIRE(saved.has_value());
  return parse_json(dump_json(*saved)).value();
}

// Two chats, in one session or with a save and a load between them.
Transcript two_chats(Simulation& world, const UserProxyAgent& user, const ConversableAgent& team,
                     std::vector<ConversableAgent> everybody, bool reloaded) {
  Session first(world, {.id = "s"});
  user.initiate_chat(team, "one", calm({.session = &first}));
  if (!reloaded) {
    user.initiate_chat(team, "two", calm({.session = &first}));
    return first.transcript();
  }
  Session second(world, {.id = "s"});
  everybody.insert(everybody.end(), {user, team});
  REQUIRE(load_session(second, stored(first), everybody).has_value());
  CHECK(stored(second)["groups"] == stored(first)["groups"]);
  user.initiate_chat(team, "two", calm({.session = &second}));
  return second.transcript();
}

}  // namespace

TEST_CASE("a group that is saved and loaded knows what was said in it") {
  Simulation world;
  std::vector<Lines> prompts;
  const AssistantAgent alice({.name = "alice", .model = listens(world, prompts)});
  const AssistantAgent bob = speaker(world, "bob");
  const UserProxyAgent user = quiet("user");
  const GroupChatManager boss =
      lead({.agents = {user, alice, bob},
            .max_round = 3,
            .speaker_selection_method = SpeakerSelectionMethod::round_robin,
            .send_introductions = true});
  const Lines whole = spoken(two_chats(world, user, boss, {alice, bob}, false));
  const std::vector<Lines> shown_at_once = std::exchange(prompts, {});
  CHECK(spoken(two_chats(world, user, boss, {alice, bob}, true)) == whole);
  CHECK(prompts == shown_at_once);

  Session session(world);
  user.initiate_chat(boss, "one", calm({.session = &session}));
  Session again(world);
  REQUIRE(load_session(again, stored(session), {user, boss, alice, bob}).has_value());
  CHECK(shown(boss.messages(again)) == shown(boss.messages(session)));
  CHECK(boss.messages(again).size() == 3);
}

TEST_CASE("who works on after a handoff works on in another process") {
  Lines at_once;
  for (const bool reloaded : {false, true}) {
    Simulation world;
    const AssistantAgent triage({.name = "triage",
                                 .model = says(world, {calls("transfer_to_billing", "{}")}),
                                 .tools = {handoff_to("billing")}});
    const AssistantAgent billing(
        {.name = "billing", .model = says(world, {"Which bill?", "Refunded."})});
    const UserProxyAgent user = quiet("user");
    const GroupChatManager boss = lead({.agents = {user, triage, billing},
                                        .max_round = 4,
                                        .speaker_selection_method = ByHandoff{AfterWork::revert}});
    const Lines said = spoken(two_chats(world, user, boss, {triage, billing}, reloaded));
    REQUIRE(said.size() > 5);
    CHECK(said[4] == "user: two");
    CHECK(said[5] == "billing: Refunded.");
    if (!reloaded) at_once = said;
    CHECK(said == at_once);
  }
}

TEST_CASE("a participant that is passed over is counted on") {
  Simulation world;
  const AssistantAgent alice = speaker(world, "alice");
  const AssistantAgent bob = speaker(world, "bob");
  const UserProxyAgent user = quiet("user");
  const GroupChatManager boss =
      lead({.agents = {alice, bob},
            .max_round = 3,
            .speaker_selection_method = [&](const SelectionRequest&) { return Selection(alice); },
            .report_starved_after = 4});
  Session first(world);
  user.initiate_chat(boss, "one", calm({.session = &first}));
  Lines warnings;
  Session second(world);
  REQUIRE(load_session(second, stored(first), {user, boss, alice, bob}).has_value());
  ChatOptions options = calm({.session = &second});
  options.observer = [&](const Event& event) {
    if (const auto* warning = std::get_if<Warning>(&event.data)) warnings.push_back(warning->text);
  };
  user.initiate_chat(boss, "two", options);
  CHECK(warnings == Lines{"bob has not been chosen in boss for 4 rounds"});
}

TEST_CASE("the turns of a graph's second run have names of their own after a reload") {
  Simulation world;
  const AssistantAgent writer = speaker(world, "writer");
  const GraphAgent graph({.agents = {writer}});
  const UserProxyAgent user = quiet("user");
  Session first(world, {.id = "a"});
  user.initiate_chat(graph, "one", calm({.session = &first}));
  const Json saved = stored(first);
  CHECK(saved["team_runs"] == Json{{"graph", 1}});
  Session second(world, {.id = "a"});
  REQUIRE(load_session(second, saved, {user, graph, writer}).has_value());
  user.initiate_chat(graph, "two", calm({.session = &second}));
  CHECK(stored(second)["team_runs"] == Json{{"graph", 2}});
}

TEST_CASE("a session saved before groups were is loaded, a damaged group is not") {
  Simulation world;
  const AssistantAgent alice = speaker(world, "alice");
  const UserProxyAgent user = quiet("user");
  const GroupChatManager boss =
      lead({.agents = {user, alice},
            .max_round = 2,
            .speaker_selection_method = SpeakerSelectionMethod::round_robin});
  Session first(world);
  user.initiate_chat(boss, "one", calm({.session = &first}));
  const Json saved = stored(first);
  Json older = saved;
  older.erase("groups");
  older.erase("team_runs");
  Session second(world);
  CHECK(load_session(second, older, {user, boss, alice}).has_value());
  CHECK(boss.messages(second).empty());

  Json damaged = saved;
  damaged["groups"][0]["messages"] = {99};
  Session third(world);
  const auto refused = load_session(third, damaged, {user, boss, alice});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message == "the session cannot be loaded: there is no message 99");
  CHECK(third.transcript().empty());
}
