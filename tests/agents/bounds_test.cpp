#include <doctest/doctest.h>

#include <chrono>
#include <numeric>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;
using namespace std::chrono_literals;

namespace {

// A model that answers each call after a second with ten tokens.
Model slow_model(Runtime& runtime, std::int64_t output = 10) {
  return runtime.model(
      scripted([output](const ModelRequest& request) -> Result<ModelReply> {
        sleep_for(1s);
        const auto input = static_cast<std::int64_t>(request.messages.size());
        return ModelReply{
            .message = Message::assistant("word"),
            .usage = {.input = input, .output = output, .source = UsageSource::measured}};
      }),
      {.limiter = unlimited(), .retry = {.max_attempts = 1}});
}

ChatOptions endless() {
  return {.repetition = {.stop_after = 0}};
}

AssistantAgent talker(Model model) {
  return AssistantAgent({.name = "alice",
                         .system_message = "s",
                         .model = std::move(model),
                         .max_consecutive_auto_reply = 1000});
}

}  // namespace

TEST_CASE("a token budget is never exceeded, and the chat says that it ended there") {
  Simulation world;
  ChatOptions options = endless();
  options.token_budget = 2'000;
  const ChatResult chat =
      quiet_user("more", 1000).initiate_chat(talker(slow_model(world)), "hello", options);
  CHECK(chat.stop.reason == StopReason::token_budget);
  CHECK(chat.calls > 1);
  CHECK(chat.usage.total() <= 2'000);
  CHECK(chat.transcript.size() == static_cast<std::size_t>(2 * chat.calls + 1));
}

TEST_CASE("a budget smaller than the first prompt makes no call") {
  Simulation world;
  const ChatResult chat =
      quiet_user().initiate_chat(talker(slow_model(world)), "hello", {.token_budget = 3});
  CHECK(chat.stop.reason == StopReason::token_budget);
  CHECK(chat.calls == 0);
  CHECK(spoken(chat.transcript) == Lines{"user: hello"});
}

TEST_CASE("with final_answer the agent closes the chat with what was set aside") {
  Simulation world;
  std::vector<Purpose> purposes;
  ChatOptions options = endless();
  options.token_budget = 3'000;
  options.on_budget = OnBudget::final_answer;
  options.observer = Observer([&](const Event& event) {
    if (const auto* finished = std::get_if<CallFinished>(&event.data)) {
      purposes.push_back(finished->record.purpose);
    }
  });
  const ChatResult chat =
      quiet_user("more", 1000).initiate_chat(talker(slow_model(world)), "hello", options);
  CHECK(chat.stop.reason == StopReason::token_budget);
  CHECK(chat.stop.agent == "alice");
  REQUIRE(purposes.size() > 1);
  CHECK(purposes.back() == Purpose::final_answer);
  CHECK(std::count(purposes.begin(), purposes.end(), Purpose::final_answer) == 1);
  CHECK(chat.transcript.back().speaker == "alice");
  CHECK(chat.usage.total() <= 3'000);
}

TEST_CASE("chats that share one budget never overrun it together") {
  Simulation world;
  const auto budget = TokenBudget::make(5'000);
  const AssistantAgent alice = talker(slow_model(world, 50));
  const UserProxyAgent user = quiet_user("more", 1000);
  std::vector<int> chats(20);
  std::iota(chats.begin(), chats.end(), 0);
  const auto results = world.parallel(chats, {.max_in_flight = 20}, [&](int) {
    ChatOptions options = endless();
    options.shared_budget = budget;
    return user.initiate_chat(alice, "hello", options);
  });
  std::int64_t used = 0;
  for (const ChatResult& chat : results) {
    CHECK(chat.stop.reason == StopReason::token_budget);
    used += chat.usage.total();
  }
  CHECK(used == budget->spent());
  CHECK(budget->spent() <= budget->total());
  CHECK(budget->reserved() == 0);
}

TEST_CASE("a summary is paid for by the chat's budget, too") {
  Simulation world;
  const ChatResult chat = quiet_user().initiate_chat(
      talker(slow_model(world)), "hello",
      {.token_budget = 10'000, .max_turns = 1, .summary_method = reflection_with_llm()});
  CHECK(chat.summary == "word");
  CHECK(chat.calls == 2);
  CHECK(chat.usage.output == 20);
}

TEST_CASE("a deadline ends a chat, also in the middle of a call") {
  Simulation world;
  ChatOptions options = endless();
  options.deadline = world.clock().now() + 3500ms;
  const ChatResult chat =
      quiet_user("more", 1000).initiate_chat(talker(slow_model(world)), "hello", options);
  CHECK(chat.stop.reason == StopReason::deadline);
  CHECK(chat.transcript.size() >= 6);
}

TEST_CASE("a termination condition is asked after every message and before every call") {
  Simulation world;
  const UserProxyAgent user = quiet_user("more", 1000);
  const auto until = [&](Condition condition) {
    ChatOptions options = endless();
    options.termination = std::move(condition);
    return user.initiate_chat(talker(slow_model(world)), "hello", options);
  };
  CHECK(until(max_messages(3)).transcript.size() == 3);
  const ChatResult said = until(contains("word"));
  CHECK(said.stop.reason == StopReason::condition);
  CHECK(said.stop.agent == "alice");
  CHECK(said.transcript.size() == 2);
  CHECK(until(max_calls(4)).calls == 4);
  CHECK(until(elapsed(5s)).calls == 5);
  CHECK(until(max_turns(2)).turns == 2);
}

TEST_CASE("a task that says the closing word ends nothing where the condition looks at answers") {
  Simulation world;
  ChatOptions options = endless();
  options.termination = contains("DONE");
  options.max_turns = 2;
  const ChatResult chat =
      quiet_user("more").initiate_chat(talker(slow_model(world)), "Say DONE", options);
  CHECK(chat.stop.reason == StopReason::max_turns);
}

TEST_CASE("talk that goes in circles is reported, and ends after three exact repeats") {
  Simulation world;
  std::vector<int> reported;
  const ChatResult chat =
      quiet_user("more", 1000)
          .initiate_chat(talker(slow_model(world)), "hello",
                         {.observer = Observer([&](const Event& event) {
                            if (const auto* loop = std::get_if<LoopSuspected>(&event.data)) {
                              reported.push_back(loop->repeats);
                            }
                          })});
  CHECK(chat.stop.reason == StopReason::repetition);
  CHECK(chat.calls == 4);
  CHECK(reported == std::vector{2, 3});
}

TEST_CASE("a tool that is meant to be polled may be polled") {
  Simulation world;
  ToolOptions polled;
  polled.repeatable = true;
  const Tool poll(RawTool{
      .definition = {.name = "poll", .parameters = {}},
      .function = [](const Json&, const ToolContext&) { return Result<std::string>("not yet"); },
      .options = polled});
  std::vector<ScriptedReply> replies(8, calls("poll", "{}"));
  replies.emplace_back("TERMINATE");
  AssistantAgent alice(
      {.name = "alice", .model = says(world, std::move(replies)), .tools = {poll}});
  CHECK(quiet_user().initiate_chat(alice, "wait").stop.reason == StopReason::termination_message);
}

TEST_CASE("a provider's failure ends the chat with its words, and the transcript is kept") {
  Simulation world;
  AssistantAgent alice({.name = "alice",
                        .model = says(world, {"one", Error{.code = ErrorCode::authentication,
                                                           .message = "the key is not valid",
                                                           .http_status = 401}})});
  const ChatResult chat = quiet_user("more").initiate_chat(alice, "hello");
  CHECK(chat.stop.reason == StopReason::model_error);
  CHECK(chat.stop.agent == "alice");
  REQUIRE(chat.stop.error);
  CHECK(chat.stop.error->http_status == 401);
  CHECK(chat.transcript.size() == 3);
  CHECK(chat.summary == "more");
}

TEST_CASE("a chat can be stopped at every step, and nothing is left behind") {
  // A talk with models on both sides and a tool, in virtual time; the stop comes at a later event
  // each time, until the chat is over before it comes.
  bool finished = false;
  for (int stop_at = 0; !finished; ++stop_at) {
    REQUIRE(stop_at < 500);
    Simulation world;
    std::stop_source stop;
    int events = 0;
    const auto budget = TokenBudget::make(100'000);
    const Tool wait = tool("wait", "waits", [] { return std::string("ok"); });
    int calls_made = 0;
    const Model model = world.model(
        scripted([&](const ModelRequest&) -> Result<ModelReply> {
          if (sleep_for(1s, stop.get_token()) == Wake::cancelled) {
            return fail(ErrorCode::cancelled, "stopped");
          }
          if (++calls_made == 2) {
            return ModelReply{.message = calls("wait", "{}")};
          }
          return ModelReply{.message = Message::assistant("word " + std::to_string(calls_made))};
        }),
        {.limiter = unlimited()});
    ConversableAgent alice({.name = "alice",
                            .model = model,
                            .tools = {wait},
                            .human_input_mode = HumanInputMode::never});
    ConversableAgent bob({.name = "bob",
                          .model = model,
                          .tools = {wait},
                          .human_input_mode = HumanInputMode::never});
    ChatResult chat;
    {
      Session session(world, {.observer = Observer([&](const Event&) {
                                if (events++ == stop_at) stop.request_stop();
                              })});
      chat = bob.initiate_chat(alice, "hello",
                               {.max_turns = 3,
                                .stop = stop.get_token(),
                                .session = &session,
                                .summary_method = reflection_with_llm(),
                                .shared_budget = budget});
    }
    finished = events <= stop_at;
    CHECK(chat.stop.reason != StopReason::none);
    CHECK(budget->reserved() == 0);
    CHECK(budget->spent() == chat.usage.total());
    world.run();
    CHECK(world.stats().fibers == 0);
    CHECK(world.stats().worker_jobs == 0);
    if (finished) CHECK(chat.stop.reason == StopReason::max_turns);
  }
}

TEST_CASE("reply functions that never stop are bounded by max_messages") {
  Simulation world;
  int said = 0;
  const auto chatter = [&](std::string name) {
    return ConversableAgent({.name = std::move(name),
                             .human_input_mode = HumanInputMode::never,
                             .replies = {{.reply = [&](const ReplyRequest&) {
                               return Reply::say("word " + std::to_string(++said));
                             }}}});
  };
  const ConversableAgent alice = chatter("alice");
  const ConversableAgent bob = chatter("bob");
  world.block_on([&] {
    const ChatResult chat = bob.initiate_chat(alice, "hello", {.max_messages = 50});
    CHECK(chat.stop.reason == StopReason::max_messages);
    CHECK(chat.stop.rule == "max_messages(50)");
    CHECK(chat.transcript.size() == 50);
    CHECK(bob.initiate_chat(alice, "hello").transcript.size() == 10'000);
  });
}

TEST_CASE("a chat in which nobody waits leaves its loop to others, and ends when it is cancelled") {
  Simulation world;
  std::uint64_t said = 0;
  const auto chatter = [&](std::string name) {
    return ConversableAgent({.name = std::move(name),
                             .human_input_mode = HumanInputMode::never,
                             .replies = {{.reply = [&](const ReplyRequest&) {
                               return Reply::say("word " + std::to_string(++said));
                             }}}});
  };
  const ConversableAgent alice = chatter("alice");
  const ConversableAgent bob = chatter("bob");
  auto talk = world.spawn([&] { return bob.initiate_chat(alice, "hello"); });
  world.spawn([&] { talk.cancel(); });
  world.run();
  CHECK(talk.join().stop.reason == StopReason::cancelled);
  CHECK(said < 100);
}

TEST_CASE(
    "final_answer in a session with a budget needs one of its own, wherever the talk begins") {
  Simulation world;
  Session session(world, {.budget = TokenBudget::make(100)});
  const AssistantAgent alice = talker(slow_model(world));
  const UserProxyAgent user = quiet_user("more", 1000);
  Party party(session, user);
  ChatOptions options = endless();
  options.on_budget = OnBudget::final_answer;
  CHECK_THROWS_AS(party.send(alice, Message::user("hello"), true, options), std::invalid_argument);
}

TEST_CASE("a final answer is had although its settings weigh much, and others spend the budget") {
  Simulation world;
  const auto budget = TokenBudget::make(4'000);
  AssistantAgent alice({.name = "alice",
                        .system_message = "s",
                        .model = slow_model(world),
                        .sampling = {.response_format = Json{{"schema", std::string(500, 'x')}}},
                        .max_consecutive_auto_reply = 1000});
  int said = 0;
  ConversableAgent user({.name = "user",
                         .human_input_mode = HumanInputMode::never,
                         .max_consecutive_auto_reply = 1000,
                         .replies = {{.reply =
                                          [&](const ReplyRequest&) {
                                            if (++said == 2) budget->charge(budget->left());
                                            return Reply::say("more " + std::string(400, 'y'));
                                          },
                                      .position = 2}}});
  ChatOptions options = endless();
  options.token_budget = 4'000;
  options.on_budget = OnBudget::final_answer;
  options.final_answer_reserve = 1'600;
  options.shared_budget = budget;
  const ChatResult chat = user.initiate_chat(alice, "hello", options);
  CHECK(chat.stop.reason == StopReason::token_budget);
  CHECK(chat.stop.detail.find("the final answer was given") != std::string::npos);
  CHECK(budget->spent() <= 4'000);
}

TEST_CASE(
    "what a summary function, an opening and a tool ask models is paid by the chat's budget") {
  Simulation world;
  const Model model = slow_model(world);
  const auto ask = [&](const CallContext& context) {
    const auto reply = model.complete({.messages = {store(Message::user("question"))}}, context);
    return reply ? reply->message.text() : reply.error().message;
  };
  std::string heard;
  const Tool asks = tool("ask", "asks a model",
                         [&](const ToolContext& context) { return heard = ask(context.context); });
  AssistantAgent alice(
      {.name = "alice", .model = says(world, {calls("ask", "{}"), "TERMINATE"}), .tools = {asks}});
  const auto opening = [&](const OpeningRequest& request) -> std::optional<Message> {
    return Message::user(ask(request.context));
  };
  const auto summary = [&](const SummaryRequest& request) { return ask(request.context); };
  const ChatResult chat = quiet_user().initiate_chat(
      alice, ChatMessage(opening), {.token_budget = 100'000, .summary_method = summary});
  CHECK(chat.summary == "word");
  CHECK(heard == "word");
  CHECK(chat.calls == 5);
  const ChatResult poor = quiet_user().initiate_chat(
      alice, ChatMessage(opening), {.token_budget = 1, .summary_method = summary});
  CHECK(poor.summary.find("prompt tokens") != std::string::npos);
  CHECK(poor.usage.total() == 0);
}
