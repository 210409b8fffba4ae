#include <doctest/doctest.h>

#include <chrono>

#include <moderato/agents/sequence/initiate_chats.hpp>
#include <moderato/agents/sequence/nested_chats.hpp>

#include "../scene.hpp"

using namespace moderato;
using namespace moderato::scene;
using namespace std::chrono_literals;

namespace {

Lines openings(const ChatQueueResult& result) {
  Lines lines;
  for (const ChatResult& chat : result.chats) {
    lines.push_back(chat.transcript.empty() ? "(nothing)"
                                            : (*chat.transcript.front().message)->text());
  }
  return lines;
}

// Answers "NAME done" after `takes`.
AssistantAgent worker(Runtime& world, const std::string& name, Duration takes = 0s) {
  return AssistantAgent(
      {.name = name,
       .model = world.model(scripted([=](const ModelRequest&) -> Result<ModelReply> {
                              sleep_for(takes);
                              return ModelReply{.message = Message::assistant(name + " done")};
                            }),
                            {.limiter = unlimited(), .retry = {.max_attempts = 1}})});
}

QueuedChat to(const ConversableAgent& recipient, std::string message) {
  return {.recipient = recipient, .message = std::move(message), .options = {.max_turns = 1}};
}

}  // namespace

TEST_CASE("chats of a sequence carry over what earlier ones came to") {
  Simulation world;
  std::vector<QueuedChat> queue{to(worker(world, "a"), "one"), to(worker(world, "b"), "two"),
                                to(worker(world, "c"), "three")};
  queue[1].options.carryover = "own";
  queue[2].finished_chat_indexes_to_exclude_from_carryover = {0};
  const ChatQueueResult result = initiate_chats(queue, {.sender = quiet_user()});
  CHECK(openings(result) ==
        Lines{"one", "two\nContext: \nown\na done", "three\nContext: \nb done"});
  CHECK(result.calls == 3);
  CHECK_FALSE(result.stop);
  // queue-carryover-accumulates: a queue is not written to, so it can be run again.
  CHECK(openings(initiate_chats(queue, {.sender = quiet_user()})) == openings(result));
}

TEST_CASE("a chat that fails ends its sequence, and what was done is kept") {
  Simulation world;
  const AssistantAgent broken(
      {.name = "broken",
       .model = says(world,
                     {ScriptedReply(Error{.code = ErrorCode::server_error, .message = "down"})})});
  const ChatQueueResult result = initiate_chats(
      {to(worker(world, "a"), "one"), to(broken, "two"), to(worker(world, "c"), "three")},
      {.sender = quiet_user()});
  CHECK(result.chats.size() == 2);
  CHECK(result.stop.reason == StopReason::model_error);
  CHECK(result.chats[0].summary == "a done");
}

TEST_CASE("a dependency graph runs independent chats at the same time") {
  for (const bool shuffle : {false, true}) {
    Simulation world({.shuffle = shuffle});
    std::vector<QueuedChat> queue{
        to(worker(world, "legal", 10s), "law"), to(worker(world, "money", 4s), "cost"),
        to(worker(world, "editor", 1s), "write"), to(worker(world, "printer", 1s), "print")};
    queue[0].chat_id = "legal";
    queue[1].chat_id = "money";
    queue[2].chat_id = "edit";
    queue[2].prerequisites = {"money", "legal"};
    queue[3].prerequisites = {"edit"};
    const ChatQueueResult result = initiate_chats(queue, {.sender = quiet_user()});
    CHECK(openings(result) == Lines{"law", "cost", "write\nContext: \nmoney done\nlegal done",
                                    "print\nContext: \neditor done"});
    CHECK(world.clock().now().time_since_epoch() == 12s);
    CHECK(result.calls == 4);
  }
}

TEST_CASE("a dependency graph shares one budget, and can be bounded and cancelled") {
  Simulation world;
  std::vector<QueuedChat> queue;
  for (int i = 0; i < 6; ++i) {
    queue.push_back(to(worker(world, "w" + std::to_string(i), 5s), "go"));
    queue.back().prerequisites.emplace();
  }
  const ChatQueueResult poor =
      initiate_chats(queue, {.sender = quiet_user(), .token_budget = 1200});
  std::int64_t tokens = 0;
  int starved = 0;
  for (const ChatResult& chat : poor.chats) {
    tokens += chat.usage.total();
    if (chat.stop.reason == StopReason::token_budget) ++starved;
  }
  CHECK(tokens <= 1200);
  CHECK(tokens == poor.usage.total());
  CHECK(starved > 0);

  std::stop_source stop;
  const ChatQueueResult stopped = initiate_chats(
      queue, {.sender = quiet_user(),
              .stop = stop.get_token(),
              .max_in_flight = 2,
              .on_chat_end = [&](const QueuedChat&, const ChatResult&) { stop.request_stop(); }});
  CHECK(stopped.stop.reason == StopReason::cancelled);
  CHECK(stopped.chats.back().stop.reason == StopReason::none);
}

TEST_CASE("a dependency graph is replayed from its journal, whatever takes how long") {
  const auto journal = std::make_shared<MemoryJournal>();
  int calls = 0;
  const auto run = [&](JournalMode mode) {
    Simulation world;
    Session session(world, {.id = "run", .journal = journal, .journal_mode = mode});
    std::vector<QueuedChat> queue;
    for (int i = 0; i < 3; ++i) {
      const AssistantAgent agent(
          {.name = "w" + std::to_string(i),
           .model = world.model(scripted([&calls, i](const ModelRequest&) -> Result<ModelReply> {
                                  sleep_for((3 - i) * 1s);
                                  return ModelReply{.message = Message::assistant(
                                                        "call " + std::to_string(++calls))};
                                }),
                                {.limiter = unlimited()})});
      queue.push_back(to(agent, "go"));
    }
    queue[2].prerequisites = {"0", "1"};
    return initiate_chats(queue, {.sender = quiet_user(), .session = &session});
  };
  const ChatQueueResult first = run(JournalMode::record);
  CHECK(calls == 3);
  const ChatQueueResult second = run(JournalMode::replay);
  CHECK(calls == 3);
  CHECK(openings(second) == openings(first));
  CHECK(second.chats[2].summary == first.chats[2].summary);
}

TEST_CASE("a queue that cannot be run is refused, and the error names its chats") {
  Simulation world;
  const auto refused = [](std::vector<QueuedChat> queue) -> std::string {
    try {
      static_cast<void>(initiate_chats(std::move(queue), {.sender = quiet_user()}));
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "accepted";
  };
  const AssistantAgent a = worker(world, "a");
  CHECK(refused({QueuedChat{}}) == "initiate_chats: chat 0 has no recipient");
  std::vector<QueuedChat> two{to(a, "x"), to(a, "y")};
  two[0].prerequisites = {"zed"};
  CHECK(refused(two) == "initiate_chats: chat \"0\" waits for \"zed\", which is not in the queue");
  two[0].prerequisites = {"1"};
  two[1].prerequisites = {"0"};
  CHECK(refused(two) == "initiate_chats: these chats wait for each other: \"0\", \"1\"");
  two[1] = to(a, "y");
  two[1].chat_id = "0";
  CHECK(refused(two) == "initiate_chats: two chats have the id \"0\"");
  try {
    static_cast<void>(initiate_chats({to(a, "x")}));
    CHECK(false);
  } catch (const std::invalid_argument& error) {
    CHECK(std::string(error.what()) == "initiate_chats: chat 0 has no sender");
  }
}

TEST_CASE("nested chats answer for the outer agent, within its bounds and on its bill") {
  Simulation world;
  const AssistantAgent critic = worker(world, "critic");
  const AssistantAgent editor = worker(world, "editor");
  const ConversableAgent writer(
      {.name = "writer",
       .human_input_mode = HumanInputMode::never,
       .replies = {nested_chats({{.recipient = critic, .options = {.max_turns = 1}},
                                 {.recipient = editor, .options = {.max_turns = 1}}},
                                "user")}});
  const ChatResult chat = quiet_user().initiate_chat(writer, "A poem", {.max_turns = 1});
  CHECK(spoken(chat.transcript) == Lines{"user: A poem", "writer: editor done"});
  CHECK(chat.calls == 2);
  const ChatResult poor =
      quiet_user().initiate_chat(writer, "A poem", {.token_budget = 1, .max_turns = 3});
  CHECK(poor.usage.total() <= 1);
}

TEST_CASE(
    "nested-without-message-skipped: every entry without a message opens with the outer one") {
  Simulation world;
  std::vector<Lines> prompts;
  const AssistantAgent first = worker(world, "first");
  const AssistantAgent second(
      {.name = "second", .system_message = "s", .model = listens(world, prompts)});
  const ConversableAgent outer(
      {.name = "outer",
       .human_input_mode = HumanInputMode::never,
       .replies = {nested_chats({{.recipient = first, .options = {.max_turns = 1}},
                                 {.recipient = second, .options = {.max_turns = 1}}},
                                "user")}});
  quiet_user().initiate_chat(outer, "question", {.max_turns = 1});
  REQUIRE(prompts.size() == 1);
  CHECK(prompts[0] == Lines{"system : s", "user outer: question\nContext: \nfirst done"});
}

TEST_CASE("nested chats that nest without end are stopped") {
  Simulation world;
  Session session(world);
  const ConversableAgent a({.name = "a", .human_input_mode = HumanInputMode::never});
  const ConversableAgent b({.name = "b", .human_input_mode = HumanInputMode::never});
  Party(session, a)
      .register_reply(
          nested_chats({{.recipient = b, .options = {.max_turns = 2}}}, Trigger::any_sender()));
  Party(session, b)
      .register_reply(
          nested_chats({{.recipient = a, .options = {.max_turns = 2}}}, Trigger::any_sender()));
  const ChatResult chat = quiet_user().initiate_chat(a, "go", {.session = &session});
  CHECK(chat.stop.reason == StopReason::callback_error);
  CHECK(chat.stop.detail.find("8 deep") != std::string::npos);
}

TEST_CASE("what on_chat_end throws ends the queue, in sequences and in graphs") {
  for (const bool graph : {false, true}) {
    CAPTURE(graph);
    Simulation world;
    std::vector<QueuedChat> queue{to(worker(world, "a"), "one"), to(worker(world, "b"), "two")};
    if (graph) queue[1].prerequisites = {"0"};
    const ChatQueueResult result = initiate_chats(
        queue, {.sender = quiet_user(), .on_chat_end = [](const QueuedChat&, const ChatResult&) {
                  throw std::runtime_error("no disk");
                }});
    CHECK(result.stop.reason == StopReason::callback_error);
    CHECK(result.stop.error->message.find("no disk") != std::string::npos);
    CHECK(result.calls == 1);
  }
}

TEST_CASE("a session may hold several dependency graphs, each with recordings of its own") {
  const auto journal = std::make_shared<MemoryJournal>();
  int calls = 0;
  for (const JournalMode mode : {JournalMode::record, JournalMode::replay}) {
    Simulation world;
    Session session(world, {.id = "run", .journal = journal, .journal_mode = mode});
    for (const char* message : {"first", "second"}) {
      std::vector<QueuedChat> queue{to(worker(world, "a"), message), to(worker(world, "b"), "two")};
      queue[1].prerequisites = {"0"};
      const ChatQueueResult result =
          initiate_chats(queue, {.sender = quiet_user(), .session = &session});
      CHECK_FALSE(result.stop);
      calls += static_cast<int>(result.calls);
    }
  }
  CHECK(calls == 8);
}
