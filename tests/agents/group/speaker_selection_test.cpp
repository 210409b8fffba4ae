#include <doctest/doctest.h>

#include <moderato/agents/group/group_state.hpp>

#include "group_scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

struct Run {
  Lines speakers;
  Stop stop;
  std::vector<SpeakerChoice> choices;
  Lines warnings;
};

Run run(GroupChat chat, Model model = {}, HumanInput human = {}) {
  Run seen;
  const ConversableAgent first = chat.agents.front();
  chat.on_speaker_selected = [&](const SpeakerChoice& choice) { seen.choices.push_back(choice); };
  const GroupChatManager boss({.group_chat = std::move(chat),
                               .name = "boss",
                               .model = std::move(model),
                               .human_input = std::move(human)});
  const ChatResult result = first.initiate_chat(
      boss, "start", calm({.observer = Observer([&](const Event& event) {
                             if (const auto* e = std::get_if<Warning>(&event.data)) {
                               seen.warnings.push_back(e->text);
                             }
                           })}));
  seen.speakers = speakers(result.transcript);
  seen.stop = result.stop;
  return seen;
}

GroupChat four(Runtime& world, SpeakerSelection selection, std::int64_t max_round) {
  return {.agents = {quiet("bob"), speaker(world, "alice"), speaker(world, "carol"),
                     speaker(world, "dave")},
          .max_round = max_round,
          .speaker_selection_method = std::move(selection)};
}

}  // namespace

TEST_CASE("a model that names nobody, two agents, a stranger or a tool is asked again") {
  Simulation world;
  const Model model =
      says(world, {"hm", "alice or carol", "zed", calls("f", "{}"), "zed", "carol, of course"});
  GroupChat chat = four(world, SpeakerSelectionMethod::automatic, 2);
  chat.max_retries_for_selecting_speaker = 5;
  const Run seen = run(chat, model);
  CHECK(seen.speakers == Lines{"bob", "carol"});
  CHECK(seen.choices.at(0).method == "auto");
}

TEST_CASE("a model that cannot choose leaves the word to the next in order") {
  Simulation world;
  const Run seen =
      run(four(world, SpeakerSelectionMethod::automatic, 2), repeats(world, "somebody"));
  CHECK(seen.speakers == Lines{"bob", "alice"});
  CHECK(seen.choices.at(0).method == "auto, undecided");
}

TEST_CASE("a failing selection ends the group chat with the model's error") {
  Simulation world;
  const Model broken =
      says(world, {ScriptedReply(Error{.code = ErrorCode::server_error, .message = "down"})});
  const Run seen = run(four(world, SpeakerSelectionMethod::automatic, 5), broken);
  CHECK(seen.stop.reason == StopReason::model_error);
  CHECK(seen.stop.agent == "boss");
}

TEST_CASE("a choice by schema is short; a provider that refuses the schema is asked for text") {
  Simulation world;
  std::vector<bool> schemas;
  const Model picky =
      world.model(scripted([&](const ModelRequest& request) -> Result<ModelReply> {
                    const bool schema = !request.sampling.response_format.is_null();
                    schemas.push_back(schema);
                    if (schema && schemas.size() > 1) {
                      return fail(ErrorCode::invalid_request, "no response_format here");
                    }
                    return ModelReply{
                        .message = Message::assistant(schema ? R"({"speaker": "carol"})" : "dave")};
                  }),
                  {.limiter = unlimited(), .retry = {.max_attempts = 1}});
  GroupChat chat = four(world, SpeakerSelectionMethod::automatic, 4);
  chat.selection_answer = SelectionAnswer::choice;
  CHECK(run(chat, picky).speakers == Lines{"bob", "carol", "dave", "dave"});
  CHECK(schemas == std::vector<bool>{true, true, false, false});
}

TEST_CASE("a function chooses a participant, a method, or nobody; a stranger ends the group chat") {
  Simulation world;
  int asked = 0;
  GroupChat chat = four(
      world,
      [&](const SelectionRequest& request) -> Selection {
        switch (++asked) {
          case 1:
            return std::string("dave");
          case 2:
            return request.group.agents[2];
          case 3:
            return SpeakerSelectionMethod::round_robin;
          default:
            return std::monostate();
        }
      },
      10);
  Run seen = run(chat);
  CHECK(seen.speakers == Lines{"bob", "dave", "carol", "dave"});
  CHECK(seen.stop.rule == "no next speaker");

  chat.speaker_selection_method = [](const SelectionRequest&) -> Selection {
    return quiet("mallory");
  };
  seen = run(chat);
  CHECK(seen.stop.reason == StopReason::callback_error);
  CHECK(seen.stop.detail ==
        "the speaker selection of boss chose \"mallory\", who is no participant; there are "
        "['bob', 'alice', 'carol', 'dave']");
  chat.speaker_selection_method = [](const SelectionRequest&) -> Selection {
    throw std::runtime_error("oops");
  };
  CHECK(run(chat).stop.reason == StopReason::callback_error);
}

TEST_CASE("empty-transition-list-means-everyone: after an empty list nobody speaks") {
  Simulation world;
  GroupChat chat = four(world, SpeakerSelectionMethod::round_robin, 10);
  chat.allowed_or_disallowed_speaker_transitions = {{"bob", {"carol", "dave"}}, {"carol", {}}};
  chat.speaker_transitions_type = SpeakerTransitionsType::allowed;
  const Run seen = run(chat);
  CHECK(seen.speakers == Lines{"bob", "carol"});
  CHECK(seen.stop.rule == "no next speaker");
  CHECK(seen.choices.back().speaker.empty());
}

TEST_CASE("manual-skip-ignores-eligible: a choice left open falls among those who may speak") {
  Simulation world;
  GroupChat chat = four(world, SpeakerSelectionMethod::manual, 5);
  chat.allowed_or_disallowed_speaker_transitions = {
      {"bob", {"carol", "dave"}}, {"carol", {"bob", "dave"}}, {"dave", {"bob", "alice"}}};
  chat.speaker_transitions_type = SpeakerTransitionsType::allowed;
  // python-crash: leaving it open never fails, however the method was named.
  const Run seen = run(chat, {}, scripted_input({"", "3", "x", " 2 ", ""}));
  CHECK(seen.speakers == Lines{"bob", "carol", "dave", "alice"});
}

TEST_CASE("tools are run by those who have them; without any the group chat says so") {
  Simulation world;
  const Tool f = tool("f", "", [] { return "done"; });
  const AssistantAgent alice({.name = "alice", .model = says(world, {calls("f", "{}"), "thanks"})});
  const UserProxyAgent runner(
      {.name = "runner", .human_input_mode = HumanInputMode::never, .runs = {f}});
  GroupChat chat{.agents = {quiet("bob"), alice, quiet("carol"), runner},
                 .max_round = 4,
                 .speaker_selection_method = SpeakerSelectionMethod::round_robin};
  CHECK(run(chat).speakers == Lines{"bob", "alice", "runner", "bob"});
  const AssistantAgent caller({.name = "alice", .model = says(world, {calls("f", "{}")})});
  chat.agents = {quiet("bob"), caller, quiet("carol")};
  const Run seen = run(chat);
  CHECK(seen.stop.reason == StopReason::tool_error);
  CHECK(seen.stop.detail.find("f is called") != std::string::npos);
}

TEST_CASE("a participant that is passed over for many rounds is reported") {
  Simulation world;
  GroupChat chat = four(world, SpeakerSelectionMethod::automatic, 12);
  chat.report_starved_after = 5;
  const Run seen = run(chat, says(world, {"alice", "carol"}, {.on_exhausted = OnExhausted::cycle}));
  REQUIRE(seen.warnings.size() >= 2);
  CHECK(seen.warnings.at(0) == "bob has not been chosen in boss for 5 rounds");
  CHECK(seen.warnings.at(1) == "dave has not been chosen in boss for 5 rounds");
}

TEST_CASE("escaped-underscore-double-mention: the longest name that fits counts") {
  const std::vector<std::string> names{"User", "User_proxy", "Ann", "Ann B", "C++"};
  using Mentions = std::map<std::string, int>;
  CHECK(mentioned_agents(names, "User\\_proxy") == Mentions{{"User_proxy", 1}});
  CHECK(mentioned_agents(names, "User proxy and User") == Mentions{{"User_proxy", 1}, {"User", 1}});
  CHECK(mentioned_agents(names, "Ann B, Ann") == Mentions{{"Ann B", 1}, {"Ann", 1}});
  CHECK(mentioned_agents(names, "UserX éUser User\xD0\xB1").empty());
  CHECK(mentioned_agents(names, "**User**, \xE2\x80\x9CUser\xE2\x80\x9D") == Mentions{{"User", 2}});
  CHECK(mentioned_agents(names, "C++!") == Mentions{{"C++", 1}});
}
