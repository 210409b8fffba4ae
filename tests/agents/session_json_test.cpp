#include <doctest/doctest.h>

#include <moderato/agents/session_json.hpp>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

// Saved and read back as text, as a store does.
Json stored(Session& session) {
  const auto saved = save_session(session);
  REQUIRE(saved.has_value());
  return parse_json(dump_json(*saved)).value();
}

UserProxyAgent person(HumanInput input) {
  return UserProxyAgent({.name = "user", .human_input = std::move(input)});
}

AssistantAgent helper(Runtime& runtime, std::vector<ScriptedReply> replies) {
  return AssistantAgent(
      {.name = "alice", .system_message = "s", .model = says(runtime, std::move(replies))});
}

}  // namespace

TEST_CASE("a session that is saved and loaded goes on as if nothing had happened") {
  Simulation world;
  const AssistantAgent alice = helper(world, {"one", "two"});
  const UserProxyAgent user = quiet_user("more");
  Session first(world, {.budget = TokenBudget::make(10'000)});
  user.initiate_chat(alice, "go", {.max_turns = 1, .session = &first});
  Party(first, alice).update_system_message("changed");
  const Json saved = stored(first);

  Session second(world, {.budget = TokenBudget::make(10'000)});
  REQUIRE(load_session(second, saved, {user, alice}).has_value());
  CHECK(shown(Party(second, alice).history(user)) == shown(Party(first, alice).history(user)));
  CHECK(Party(second, alice).system_message() == "changed");
  CHECK(spoken(second.transcript()) == spoken(first.transcript()));
  CHECK(second.totals().snapshot().usage == first.totals().snapshot().usage);
  CHECK(second.options().budget->spent() == first.options().budget->spent());
  CHECK(stored(second)["parties"] == saved["parties"]);

  const ChatResult chat = user.initiate_chat(alice, "on", {.max_turns = 1, .session = &second});
  CHECK(shown(chat.chat_history) ==
        Lines{"assistant user: go", "user alice: one", "assistant user: on", "user alice: two"});
}

TEST_CASE("a budget holds across save and load") {
  Simulation world;
  const UserProxyAgent user = quiet_user("more");
  const AssistantAgent alice = helper(world, {"one", "two"});
  Session first(world, {.budget = TokenBudget::make(200)});
  user.initiate_chat(alice, "go", {.max_turns = 1, .session = &first});
  const std::int64_t spent = first.options().budget->spent();
  REQUIRE(spent > 0);
  Session second(world, {.budget = TokenBudget::make(spent)});
  REQUIRE(load_session(second, stored(first), {user, alice}).has_value());
  const ChatResult chat = user.initiate_chat(alice, "on", {.session = &second});
  CHECK(chat.stop.reason == StopReason::token_budget);
  CHECK(chat.calls == 0);
}

TEST_CASE("a chat that waits for a person is stored, and goes on when the answer is there") {
  Simulation world;
  Json saved;
  {
    Session session(world);
    const ChatResult chat =
        person(pending_input())
            .initiate_chat(helper(world, {"Which colour?"}), "Paint it.", {.session = &session});
    CHECK(chat.stop.reason == StopReason::awaiting_human);
    CHECK(chat.stop.detail ==
          "Your answer to alice as user (enter: automatic reply, exit: end the chat): ");
    saved = stored(session);
  }
  Session session(world);
  const UserProxyAgent user = person(pending_input({"Blue.", "exit"}));
  const AssistantAgent alice = helper(world, {"Painted blue."});
  REQUIRE(load_session(session, saved, {user, alice}).has_value());
  const ChatResult chat = user.initiate_chat(alice, ChatMessage::go_on(), {.session = &session});
  CHECK(chat.stop.reason == StopReason::human_exit);
  CHECK(spoken(chat.transcript) == Lines{"user: Blue.", "alice: Painted blue."});
  CHECK(spoken(session.transcript()) ==
        Lines{"user: Paint it.", "alice: Which colour?", "user: Blue.", "alice: Painted blue."});
}

TEST_CASE("a tool call that waits for approval goes on when the answer is there") {
  Simulation world;
  ToolOptions options;
  options.approval = Approval::by_human();
  int runs = 0;
  const Tool pay = tool(
      "pay", "pays", [&runs] { return ++runs; }, options);
  const auto user = [](std::vector<std::string> answers) {
    return UserProxyAgent({.name = "user",
                           .human_input_mode = HumanInputMode::never,
                           .human_input = pending_input(std::move(answers))});
  };
  const auto alice = [&](std::vector<ScriptedReply> replies) {
    return AssistantAgent(
        {.name = "alice", .model = says(world, std::move(replies)), .tools = {pay}});
  };
  Session first(world);
  const ChatResult waiting =
      user({}).initiate_chat(alice({calls("pay", "{}")}), "go", {.session = &first});
  CHECK(waiting.stop.reason == StopReason::awaiting_human);
  CHECK(runs == 0);

  Session second(world);
  const UserProxyAgent later = user({"yes"});
  const AssistantAgent same = alice({"TERMINATE"});
  REQUIRE(load_session(second, stored(first), {later, same}).has_value());
  const ChatResult chat = later.initiate_chat(same, ChatMessage::go_on(), {.session = &second});
  CHECK(spoken(chat.transcript) == Lines{"user: 1", "alice: TERMINATE"});
  CHECK(runs == 1);
}

TEST_CASE("nothing runs before a person has been asked about every call of a message") {
  for (const std::size_t together : {1U, 2U}) {
    CAPTURE(together);
    Simulation world;
    ToolOptions careful;
    careful.approval = Approval::by_human();
    int paid = 0;
    int removed = 0;
    const Tool pay = tool("pay", "pays", [&paid] { return ++paid; });
    const Tool remove = tool(
        "remove", "removes", [&removed] { return ++removed; }, careful);
    const auto user = [&](std::vector<std::string> answers) {
      return UserProxyAgent({.name = "user",
                             .human_input_mode = HumanInputMode::never,
                             .human_input = pending_input(std::move(answers)),
                             .max_parallel_tools = together});
    };
    const auto alice = [&](std::vector<ScriptedReply> replies) {
      return AssistantAgent(
          {.name = "alice", .model = says(world, std::move(replies)), .tools = {pay, remove}});
    };
    Message both = calls("pay", "{}", "1");
    both.tool_calls.push_back({"2", "remove", "{}"});
    Session first(world);
    CHECK(user({}).initiate_chat(alice({both}), "go", {.session = &first}).stop.reason ==
          StopReason::awaiting_human);
    CHECK(paid == 0);
    Session second(world);
    const UserProxyAgent later = user({"yes"});
    const AssistantAgent same = alice({"TERMINATE"});
    REQUIRE(load_session(second, stored(first), {later, same}).has_value());
    (void)later.initiate_chat(same, ChatMessage::go_on(), {.session = &second});
    CHECK(paid == 1);
    CHECK(removed == 1);
  }
}

TEST_CASE("words that are no UTF-8 are saved as what a provider would be sent") {
  Simulation world;
  const AssistantAgent alice = helper(world, {"one"});
  Session session(world);
  quiet_user().initiate_chat(alice, "caf\xe9", {.max_turns = 1, .session = &session});
  const auto saved = save_session(session);
  REQUIRE(saved.has_value());
  CHECK(saved->dump().find("caf\xEF\xBF\xBD") != std::string::npos);
}

TEST_CASE("with a journal the run is resumed with the answer, and pays for nothing twice") {
  Simulation world;
  auto journal = std::make_shared<MemoryJournal>();
  const auto run = [&](JournalMode mode, std::vector<ScriptedReply> replies,
                       std::vector<std::string> human) {
    Session session(world, {.id = "case 7", .journal = journal, .journal_mode = mode});
    return person(pending_input(std::move(human)))
        .initiate_chat(helper(world, std::move(replies)), "Paint it.", {.session = &session});
  };
  CHECK(run(JournalMode::record, {"Which colour?"}, {}).stop.reason == StopReason::awaiting_human);
  CHECK(run(JournalMode::resume, {}, {}).stop.reason == StopReason::awaiting_human);
  const ChatResult chat = run(JournalMode::resume, {"Painted blue."}, {"Blue.", "exit"});
  CHECK(chat.stop.reason == StopReason::human_exit);
  CHECK(spoken(chat.transcript) ==
        Lines{"user: Paint it.", "alice: Which colour?", "user: Blue.", "alice: Painted blue."});
}

TEST_CASE("there is nothing to go on with in a fresh session") {
  Simulation world;
  const ChatResult chat = quiet_user().initiate_chat(helper(world, {"hi"}), ChatMessage::go_on());
  CHECK(chat.stop.reason == StopReason::no_initial_message);
  CHECK(chat.calls == 0);
}

TEST_CASE("members that a later version adds are ignored, a later format is refused") {
  Simulation world;
  const AssistantAgent alice = helper(world, {"one"});
  const UserProxyAgent user = quiet_user();
  Session first(world);
  user.initiate_chat(alice, "go", {.max_turns = 1, .session = &first});
  Json saved = stored(first);
  saved["new"] = {{"a", 1}};
  saved["parties"][0]["new"] = 2;
  saved["parties"][0]["dialogues"][0]["new"] = 3;
  saved["transcript"][0]["kind"] = "kind of the future";
  Session second(world);
  CHECK(load_session(second, saved, {user, alice}).has_value());
  saved["format"] = "moderato-session/2";
  Session third(world);
  const auto refused = load_session(third, saved, {user, alice});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message ==
        "the session cannot be loaded: its format is moderato-session/2, this version reads "
        "moderato-session/1");
}

TEST_CASE("an agent that is missing, and one that is there twice, are named") {
  Simulation world;
  const AssistantAgent alice = helper(world, {"one"});
  const UserProxyAgent user = quiet_user();
  Session first(world);
  user.initiate_chat(alice, "go", {.max_turns = 1, .session = &first});
  const Json saved = stored(first);
  Session second(world);
  CHECK(load_session(second, saved, {user}).error().message ==
        "the saved session needs the agent alice");
  CHECK(load_session(second, saved, {user, alice, quiet_user()}).error().message ==
        "two agents are called user");
  CHECK(second.transcript().empty());
  CHECK(load_session(first, saved, {user, alice}).error().code == ErrorCode::invalid_request);
}

TEST_CASE("no damage to a saved session goes unnoticed or does harm") {
  Simulation world;
  const AssistantAgent alice = helper(world, {calls("pay", "{}")});
  const UserProxyAgent user = quiet_user();
  Session first(world, {.budget = TokenBudget::make(1'000)});
  user.initiate_chat(alice, "go", {.max_turns = 1, .session = &first});
  const std::string text = dump_json(*save_session(first));
  // Every member in turn is replaced by something of another type, or left out.
  int damaged = 0;
  for (std::size_t at = text.find("\":"); at != std::string::npos; at = text.find("\":", at + 1)) {
    const std::size_t begin = text.rfind('"', at - 1);
    for (const std::string& name : {std::string("\"gone"), std::string()}) {
      std::string changed = text;
      if (name.empty()) {
        changed.insert(at + 2, "[{\"wrong\":-1}],\"was\":");
      } else {
        changed.replace(begin, at - begin, name);
      }
      const auto json = parse_json(changed);
      if (!json) continue;
      Session second(world, {.budget = TokenBudget::make(1'000)});
      if (!load_session(second, *json, {user, alice})) {
        ++damaged;
        CHECK(second.transcript().empty());
        CHECK(second.totals().snapshot().calls == 0);
      }
    }
  }
  CHECK(damaged > 40);
}
