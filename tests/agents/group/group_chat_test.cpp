#include <doctest/doctest.h>

#include <chrono>

#include <moderato/termination/condition.hpp>

#include "group_scene.hpp"

using namespace moderato;
using namespace moderato::scene;
using namespace std::chrono_literals;

namespace {

GroupChat three(Runtime& world, SpeakerSelection selection, std::int64_t max_round = 4) {
  return {.agents = {quiet("bob"), speaker(world, "alice"), speaker(world, "carol")},
          .max_round = max_round,
          .speaker_selection_method = std::move(selection)};
}

ChatResult start(const GroupChatManager& boss, ChatOptions options = {},
                 const std::string& who = "bob") {
  for (const ConversableAgent& agent : boss.group_chat().agents) {
    if (agent.name() == who) return agent.initiate_chat(boss, "start", calm(std::move(options)));
  }
  return quiet("eve").initiate_chat(boss, "start", calm(std::move(options)));
}

}  // namespace

TEST_CASE("a group speaks in turn, and everybody hears everything under its speaker's name") {
  Simulation world;
  Session session(world);
  const GroupChatManager boss = lead(three(world, SpeakerSelectionMethod::round_robin));
  const ChatResult chat = start(boss, {.session = &session});
  CHECK(spoken(chat.transcript) ==
        Lines{"bob: start", "alice: alice speaks", "carol: carol speaks", "bob: "});
  CHECK(chat.stop.reason == StopReason::max_messages);
  CHECK(chat.stop.agent == "boss");
  CHECK(chat.turns == 3);
  const ConversableAgent alice = boss.group_chat().agents[1];
  CHECK(shown(Party(session, alice).history(boss)) ==
        Lines{"user bob: start", "assistant alice: alice speaks", "user carol: carol speaks",
              "user bob: "});
  CHECK(shown(boss.messages(session)) == Lines{"user bob: start", "user alice: alice speaks",
                                               "user carol: carol speaks", "user bob: "});
}

TEST_CASE("group-cost-incomplete: usage and calls are those of everybody, selection included") {
  const auto ledger = std::make_shared<MemoryLedger>();
  Simulation world({.ledger = ledger});
  const GroupChatManager boss = lead(three(world, SpeakerSelectionMethod::automatic),
                                     says(world, {"alice", "carol", "alice"}));
  const ChatResult chat = start(boss);
  CHECK(speakers(chat.transcript) == Lines{"bob", "alice", "carol", "alice"});
  CHECK(chat.calls == 6);
  std::int64_t tokens = 0;
  int selections = 0;
  for (const CallRecord& record : ledger->records()) {
    tokens += record.usage.total();
    if (record.purpose == Purpose::speaker_selection) ++selections;
  }
  CHECK(ledger->size() == 6);
  CHECK(selections == 3);
  CHECK(chat.usage.total() == tokens);
}

TEST_CASE("outsider-sees-only-its-message: an initiator outside of the group is given its talk") {
  Simulation world;
  const GroupChatManager boss = lead(three(world, SpeakerSelectionMethod::round_robin));
  const ChatResult chat = start(boss, {}, "eve");
  CHECK(chat.summary == "carol speaks");
  CHECK(shown(chat.chat_history) == Lines{"user eve: start", "user bob: ",
                                          "user alice: alice speaks", "user carol: carol speaks"});
}

TEST_CASE("async-termination-not-broadcast: everybody hears the message that ends the group chat") {
  Simulation world;
  Session session(world);
  const AssistantAgent alice({.name = "alice", .model = says(world, {"TERMINATE"})});
  const AssistantAgent carol = speaker(world, "carol");
  const GroupChatManager boss =
      lead({.agents = {quiet("bob"), alice, carol},
            .speaker_selection_method = SpeakerSelectionMethod::round_robin});
  const ChatResult chat = start(boss, {.session = &session});
  CHECK(chat.stop.reason == StopReason::termination_message);
  CHECK(chat.stop.agent == "boss");
  CHECK(shown(Party(session, carol).history(boss)).back() == "user alice: TERMINATE");
}

TEST_CASE("with max_turns the initiator goes on after each run of the group") {
  Simulation world;
  GroupChat chat = three(world, SpeakerSelectionMethod::round_robin, 2);
  const ChatResult result = start(lead(std::move(chat)), {.max_turns = 2});
  CHECK(speakers(result.transcript) == Lines{"bob", "alice", "bob", "alice"});
  CHECK(result.stop.reason == StopReason::max_turns);
}

TEST_CASE("a speaker that has nothing to say ends the run, and the stop names it") {
  Simulation world;
  const ConversableAgent mute({.name = "mute",
                               .human_input_mode = HumanInputMode::never,
                               .default_auto_reply = std::nullopt});
  const ChatResult chat =
      start(lead({.agents = {quiet("bob"), mute},
                  .speaker_selection_method = SpeakerSelectionMethod::round_robin}));
  CHECK(chat.stop.reason == StopReason::no_reply);
  CHECK(chat.stop.agent == "mute");
}

TEST_CASE("manager-as-participant-ends: a group inside a group says the last message of its talk") {
  Simulation world;
  const GroupChatManager inner(
      {.group_chat = {.agents = {speaker(world, "x"), speaker(world, "y")},
                      .max_round = 3,
                      .speaker_selection_method = SpeakerSelectionMethod::round_robin},
       .name = "team"});
  Session session(world);
  const GroupChatManager boss =
      lead({.agents = {quiet("bob"), speaker(world, "alice"), inner},
            .max_round = 4,
            .speaker_selection_method = SpeakerSelectionMethod::round_robin});
  const ChatResult chat = start(boss, {.session = &session});
  CHECK(spoken(chat.transcript) == Lines{"bob: start", "alice: alice speaks", "x: x speaks",
                                         "y: y speaks", "team: y speaks", "bob: "});
  CHECK(chat.calls == 3);
  CHECK(shown(inner.messages(session)) == Lines{"user bob: start", "user alice: alice speaks",
                                                "user x: x speaks", "user y: y speaks"});
}

TEST_CASE("a token budget bounds a group chat and the choice of its speakers") {
  const auto ledger = std::make_shared<MemoryLedger>();
  Simulation world({.ledger = ledger});
  const GroupChatManager boss =
      lead(three(world, SpeakerSelectionMethod::automatic, 1000),
           says(world, {"alice", "carol"}, {.on_exhausted = OnExhausted::cycle}));
  const ChatResult chat = start(boss, {.token_budget = 3000});
  CHECK(chat.stop.reason == StopReason::token_budget);
  CHECK(chat.transcript.size() > 2);
  std::int64_t tokens = 0;
  for (const CallRecord& record : ledger->records()) tokens += record.usage.total();
  CHECK(tokens == chat.usage.total());
  CHECK(tokens <= 3000);
}

TEST_CASE("a group chat can be cancelled at every step, and keeps what was said until then") {
  for (int step = 0; step < 14; ++step) {
    CAPTURE(step);
    Simulation world;
    std::stop_source stop;
    int events = 0;
    const ChatOptions options{.observer = Observer([&](const Event&) {
                                if (events++ == step * 3) stop.request_stop();
                              }),
                              .stop = stop.get_token()};
    const GroupChatManager boss =
        lead(three(world, SpeakerSelectionMethod::automatic, 5),
             says(world, {"alice", "carol"}, {.on_exhausted = OnExhausted::cycle}));
    const ChatResult chat = start(boss, options);
    CHECK((chat.stop.reason == StopReason::cancelled ||
           chat.stop.reason == StopReason::max_messages));
    if (events <= step * 3) CHECK(chat.stop.reason == StopReason::max_messages);
    CHECK(world.stats().worker_jobs == 0);
  }
}

TEST_CASE("a condition and the deadline end a group chat") {
  Simulation world;
  const GroupChatManager boss = lead(three(world, SpeakerSelectionMethod::round_robin, 100));
  CHECK(start(boss, {.termination = max_messages(5)}).transcript.size() == 5);
  Simulation slow;
  const Model thinks = slow.model(scripted([](const ModelRequest&) -> Result<ModelReply> {
                                    sleep_for(10s);
                                    return ModelReply{.message = Message::assistant("hm")};
                                  }),
                                  {.limiter = unlimited()});
  const AssistantAgent alice({.name = "alice", .model = thinks});
  const ChatResult late =
      start(lead({.agents = {quiet("bob"), alice},
                  .max_round = 100,
                  .speaker_selection_method = SpeakerSelectionMethod::round_robin}),
            {.deadline = slow.clock().now() + 25s});
  CHECK(late.stop.reason == StopReason::deadline);
  CHECK(slow.clock().now().time_since_epoch() <= 30s);  // the call under way is waited for
}

TEST_CASE("a group chat is replayed from its journal, random choices and all") {
  const auto journal = std::make_shared<MemoryJournal>();
  int calls = 0;
  const auto talk = [&](JournalMode mode, std::uint64_t seed) {
    Simulation world({.seed = seed});
    Session session(world, {.id = "run", .journal = journal, .journal_mode = mode});
    const Model model = world.model(
        scripted([&](const ModelRequest&) -> Result<ModelReply> {
          ++calls;
          return ModelReply{.message = Message::assistant("word " + std::to_string(calls))};
        }),
        {.limiter = unlimited()});
    std::vector<ConversableAgent> agents{quiet("bob")};
    for (const char* name : {"a", "b", "c", "d"}) {
      agents.push_back(
          AssistantAgent({.name = name, .model = model, .max_consecutive_auto_reply = 100}));
    }
    const GroupChatManager boss =
        lead({.agents = std::move(agents),
              .max_round = 20,
              .speaker_selection_method = SpeakerSelectionMethod::random});
    return start(boss, {.session = &session});
  };
  const ChatResult first = talk(JournalMode::record, 1);
  const int live = calls;
  CHECK(live > 5);
  const ChatResult second = talk(JournalMode::replay, 99);
  CHECK(calls == live);
  CHECK(spoken(second.transcript) == spoken(first.transcript));
  CHECK(second.stop == first.stop);
}

TEST_CASE("resume-own-messages-as-user: a resumed group sees its own words as its own") {
  Simulation world;
  Session session(world);
  GroupChat chat = three(world, SpeakerSelectionMethod::round_robin, 2);
  chat.send_introductions = true;
  const GroupChatManager boss = lead(std::move(chat));
  auto resumed = boss.resume(session,
                             {Message::user("start", "bob"), Message::user("a1", "alice"),
                              Message::user("done TERMINATE", "carol")},
                             "TERMINATE");
  REQUIRE(resumed);
  CHECK(resumed->last_speaker.name() == "carol");
  CHECK_FALSE(resumed->is_termination);
  const ConversableAgent alice = boss.group_chat().agents[1];
  CHECK(shown(Party(session, alice).history(boss)) ==
        Lines{"user bob: start", "assistant alice: a1"});
  const ChatResult result =
      resumed->last_speaker.initiate_chat(boss, resumed->last_message, calm({.session = &session}));
  // groupchat-settings-copied: introductions are not made again.
  CHECK(shown(Party(session, alice).history(boss)) ==
        Lines{"user bob: start", "assistant alice: a1", "user carol: done ", "user bob: "});
  CHECK(speakers(result.transcript) == Lines{"carol", "bob"});
  CHECK_FALSE(boss.resume(session, {}));
  auto stranger = boss.resume(session, {Message::user("hi", "zed")});
  REQUIRE_FALSE(stranger);
  CHECK(stranger.error().message.find("\"zed\"") != std::string::npos);
}

TEST_CASE("a person who interrupts gives the word to the admin") {
  Simulation world;
  const UserProxyAgent human({.name = "human",
                              .human_input_mode = HumanInputMode::always,
                              .human_input = HumanInput([](const HumanPrompt&) {
                                return Result<std::string>(fail(ErrorCode::cancelled, "ctrl-C"));
                              })});
  const UserProxyAgent admin({.name = "Admin",
                              .human_input_mode = HumanInputMode::never,
                              .default_auto_reply = "admin speaks"});
  GroupChat chat{.agents = {quiet("bob"), human, admin},
                 .max_round = 2,
                 .speaker_selection_method = SpeakerSelectionMethod::round_robin};
  CHECK(speakers(start(lead(chat)).transcript) == Lines{"bob", "Admin"});
  chat.admin_name = "nobody";
  CHECK(start(lead(chat)).stop.reason == StopReason::cancelled);
}

TEST_CASE("manager-human-mode-ignored, bad settings: the error names the agent") {
  Simulation world;
  const auto refused = [](GroupChat chat) -> std::string {
    try {
      lead(std::move(chat));
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "accepted";
  };
  const AssistantAgent alice = speaker(world, "alice");
  const UserProxyAgent bob = quiet("bob");
  CHECK(refused({}) == "GroupChat: no participants");
  CHECK(refused({.agents = {alice, alice}}) == "GroupChat: two participants are called \"alice\"");
  CHECK(refused({.agents = {alice, quiet("boss")}}) ==
        "GroupChatManager: a participant has the manager's name, \"boss\"");
  CHECK(
      refused({.agents = {alice, bob},
               .allowed_or_disallowed_speaker_transitions = SpeakerTransitions{{"alice", {"zed"}}},
               .speaker_transitions_type = SpeakerTransitionsType::allowed}) ==
      "GroupChat: the transitions of alice names \"zed\", who is no participant");
  CHECK(refused({.agents = {alice, bob},
                 .allowed_or_disallowed_speaker_transitions = SpeakerTransitions{{"zed", {"bob"}}},
                 .speaker_transitions_type = SpeakerTransitionsType::disallowed}) ==
        "GroupChat: allowed_or_disallowed_speaker_transitions names \"zed\", who is no "
        "participant");
  CHECK(
      refused({.agents = {alice, bob}, .allow_repeat_speaker = std::vector<std::string>{"zed"}}) ==
      "GroupChat: allow_repeat_speaker names \"zed\", who is no participant");
  CHECK(refused({.agents = {alice, bob}, .max_round = -1}) ==
        "GroupChat: max_round must not be negative");
}
