#include <doctest/doctest.h>

#include <moderato/agents/transforms/compression.hpp>
#include <moderato/agents/transforms/content_name.hpp>
#include <moderato/agents/transforms/history_limiter.hpp>
#include <moderato/agents/transforms/token_limiter.hpp>

#include "agents/scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

MessageList stored(std::vector<Message> messages) {
  MessageList list;
  for (Message& message : messages) list.push_back(store(std::move(message)));
  return list;
}

Lines texts(const MessageList& messages) {
  Lines lines;
  for (const MessagePtr& message : messages) lines.push_back((*message)->text());
  return lines;
}

// A word with the spaces after it.
std::vector<std::size_t> words(std::string_view text) {
  std::vector<std::size_t> lengths;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t space = std::min(text.find(' ', at), text.size());
    const std::size_t next = std::min(text.find_first_not_of(' ', space), text.size());
    lengths.push_back(next - at);
    at = next;
  }
  return lengths;
}

MessageList with_a_tool_call() {
  return stored({Message::user("task"), calls("look", "{}"), Message::tool("call_1", "found it"),
                 Message::assistant("done"), Message::user("next")});
}

std::vector<ContextTrimmed> trimmings(const std::vector<Event>& events) {
  std::vector<ContextTrimmed> found;
  for (const Event& event : events) {
    if (const auto* trimmed = std::get_if<ContextTrimmed>(&event.data)) found.push_back(*trimmed);
  }
  return found;
}

}  // namespace

TEST_CASE("the history limiter shows the newest messages, and the task if it is asked to") {
  const MessageList five = stored({Message::user("1"), Message::assistant("2"), Message::user("3"),
                                   Message::assistant("4"), Message::user("5")});
  CHECK(texts(limit_history(five, {.max_messages = 2})) == Lines{"4", "5"});
  CHECK(texts(limit_history(five, {.max_messages = 3, .keep_first_message = true})) ==
        Lines{"1", "4", "5"});
  CHECK(limit_history(five, {.max_messages = 9}) == five);
  CHECK_THROWS_AS(static_cast<void>(history_limiter({})), std::invalid_argument);
}

TEST_CASE("limiter-pops-newest: the history limiter shows no answer without its call") {
  CHECK(texts(limit_history(with_a_tool_call(), {.max_messages = 3})) == Lines{"done", "next"});
  MessageList two_answers =
      stored({Message::user("task"), calls("look", "{}"), Message::tool("a", "one"),
              Message::tool("b", "two"), Message::assistant("done")});
  CHECK(texts(limit_history(two_answers, {.max_messages = 3})) == Lines{"done"});
}

TEST_CASE("an answer that is the newest message comes with its call, even with one place") {
  MessageList answered = with_a_tool_call();
  answered.resize(3);
  const MessageList shown = limit_history(answered, {.max_messages = 1});
  REQUIRE(shown.size() == 2);
  CHECK((*shown[0])->has_calls());
  CHECK((*shown[1])->text() == "found it");
}

TEST_CASE("token-limiter-total-only: each message is cut, and the oldest are left out") {
  const MessageList three =
      stored({Message::user("a b c"), Message::assistant("d e f"), Message::user("g h i")});
  CHECK(texts(limit_tokens(three, {.max_tokens_per_message = 2, .tokenizer = words})) ==
        Lines{"a b ", "d e ", "g h "});
  CHECK(texts(limit_tokens(three,
                           {.max_tokens = 5, .max_tokens_per_message = 2, .tokenizer = words})) ==
        Lines{"a ", "d e ", "g h "});
  CHECK(texts(limit_tokens(three, {.max_tokens = 9, .min_tokens = 10, .tokenizer = words})) ==
        Lines{"a b c", "d e f", "g h i"});
}

TEST_CASE("without a limit for each message whole messages are shown as long as they fit") {
  const MessageList three =
      stored({Message::user("a b c"), Message::assistant("d e f"), Message::user("g h i")});
  CHECK(texts(limit_tokens(three, {.max_tokens = 7, .tokenizer = words})) ==
        Lines{"d e f", "g h i"});
  CHECK(texts(limit_tokens(three, {.max_tokens = 2, .tokenizer = words})) == Lines{"g h "});
  CHECK(limit_tokens(three, {.tokenizer = words}) == three);
}

TEST_CASE("token-limiter-skips-tool-responses: what a model sees of several answers is cut") {
  Message answers{.role = Role::tool, .content = "a b c\n\nd"};
  answers.tool_responses = {{.tool_call_id = "1", .content = "a b c"},
                            {.tool_call_id = "2", .content = "d"}};
  const MessageList shown =
      limit_tokens(stored({answers}), {.max_tokens_per_message = 2, .tokenizer = words});
  CHECK((*shown[0])->tool_responses[0].content == "a b ");
  CHECK((*shown[0])->tool_responses[1].content == "d");
}

TEST_CASE("a character is not cut in the middle") {
  const MessageList shown = limit_tokens(stored({Message::user("abc\u00e9fg")}), {.max_tokens = 1});
  CHECK((*shown[0])->text() == "abc");
}

TEST_CASE("a filter leaves messages alone") {
  const MessageList two = stored({Message::user("a b", "ann"), Message::user("c d", "ben")});
  const auto shown_with = [&](MessageFilter filter) {
    return texts(limit_tokens(
        two, {.max_tokens_per_message = 1, .filter = std::move(filter), .tokenizer = words}));
  };
  CHECK(shown_with(filter_dict({{"name", {"ann"}}})) == Lines{"a b", "c "});
  CHECK(shown_with(filter_dict({{"name", {"ann"}}}, false)) == Lines{"a ", "c d"});
}

TEST_CASE("names are written into the text, once") {
  const MessageList named = add_names(
      stored({Message::user("hi", "ann"), Message::user("ann:\nho", "ann"), Message::user("who")}),
      {});
  CHECK(texts(named) == Lines{"ann:\nhi", "ann:\nho", "who"});
  CHECK(texts(add_names(stored({Message::user("hi", "ann")}),
                        {.position = NamePosition::end, .format_string = " ({name})"})) ==
        Lines{"hi (ann)"});
}

TEST_CASE("transforms change what is shown, not what is stored, and say what they left out") {
  Simulation world;
  std::vector<Lines> prompts;
  std::vector<Event> events;
  AssistantAgent alice({.name = "alice",
                        .system_message = "s",
                        .model = listens(world, prompts),
                        .transforms = {history_limiter({.max_messages = 1})}});
  const ChatResult chat = quiet_user("more").initiate_chat(
      alice, "go",
      {.max_turns = 2, .observer = Observer([&](const Event& event) { events.push_back(event); })});
  CHECK(prompts.at(1) == Lines{"system : s", "user user: more"});
  CHECK(chat.chat_history.size() == 4);
  const auto told = trimmings(events);
  REQUIRE(told.size() == 1);
  CHECK(told[0].agent == "alice");
  CHECK(told[0].by == "history_limiter(1)");
  CHECK(told[0].messages_left_out == 2);
  CHECK(told[0].messages_shown == 1);
}

TEST_CASE("a transform of one's own is kept from parting a call and its answer") {
  Simulation world;
  std::vector<Lines> prompts;
  const Transform newest("newest", [](MessageList messages, const TransformContext&) {
    messages.erase(messages.begin(), messages.end() - 1);
    return Result<MessageList>(std::move(messages));
  });
  int asked = 0;
  Model model = world.model(scripted([&](const ModelRequest& request) -> Result<ModelReply> {
                              prompts.push_back(shown(request.messages));
                              if (++asked > 1) return ModelReply{Message::assistant("TERMINATE")};
                              return ModelReply{calls("look", "{}")};
                            }),
                            {.limiter = unlimited()});
  AssistantAgent alice({.name = "alice",
                        .system_message = "s",
                        .model = model,
                        .tools = {tool("look", "looks", [] { return std::string("found"); })},
                        .transforms = {newest}});
  const ChatResult chat = quiet_user().initiate_chat(alice, "go");
  CHECK(chat.stop.reason == StopReason::termination_message);
  CHECK(prompts.at(1) == Lines{"system : s", "assistant : ", "tool : found"});
}

TEST_CASE("a transform that throws, and one that leaves nothing, end the chat") {
  Simulation world;
  const auto stop_with = [&](Transform::Function change) {
    AssistantAgent alice({.name = "alice",
                          .model = repeats(world, "ok"),
                          .transforms = {Transform("mine", std::move(change))}});
    return quiet_user().initiate_chat(alice, "go").stop;
  };
  const Stop thrown = stop_with([](MessageList, const TransformContext&) -> Result<MessageList> {
    throw std::runtime_error("out of order");
  });
  CHECK(thrown.reason == StopReason::callback_error);
  CHECK(thrown.detail == "transform of alice threw: out of order");
  const Stop empty = stop_with(
      [](MessageList, const TransformContext&) { return Result<MessageList>(MessageList{}); });
  CHECK(empty.reason == StopReason::callback_error);
  CHECK(empty.detail == "the transform mine gave an empty list, or one with a null message");
}

TEST_CASE("a cheaper model writes the summary of the older part, once for many turns") {
  Simulation world;
  std::vector<Lines> prompts;
  std::vector<Lines> summaries;
  Model cheap = world.model(scripted([&](const ModelRequest& request) -> Result<ModelReply> {
                              summaries.push_back(shown(request.messages));
                              return ModelReply{.message = Message::assistant("so far")};
                            }),
                            {.limiter = unlimited()});
  AssistantAgent alice(
      {.name = "alice",
       .system_message = "s",
       .model = listens(world, prompts),
       .transforms = {compress_history(
           {.model = cheap, .above_tokens = 8, .keep_newest = 1, .tokenizer = words})}});
  const ChatResult chat =
      quiet_user("one two three")
          .initiate_chat(alice, "the task", {.max_turns = 5, .repetition = {.stop_after = 0}});
  // Tokens that are not summarised: 2, 6, 10 (summary), 7, 11 (summary).
  REQUIRE(summaries.size() == 2);
  CHECK(summaries[1][0].find("Summary of what came before:\nso far") != std::string::npos);
  CHECK(summaries[1][0].find("the task") == std::string::npos);
  CHECK(prompts.at(2) == Lines{"system : s", "user user: the task",
                               "user : Summary of the conversation so far:\nso far",
                               "user user: one two three"});
  CHECK(prompts.at(3).size() == 6);
  CHECK(chat.calls == 7);
  CHECK(chat.chat_history.size() == 10);
}

TEST_CASE("a summary that cannot be had is a warning, and the messages are shown as they are") {
  Simulation world;
  std::vector<Lines> prompts;
  std::vector<std::string> warnings;
  AssistantAgent alice(
      {.name = "alice",
       .model = listens(world, prompts),
       .transforms = {compress_history(
           {.model = says(world, {Error{.code = ErrorCode::server_error, .message = "broken"}}),
            .above_tokens = 1,
            .keep_newest = 1,
            .keep_first_message = false,
            .tokenizer = words})}});
  quiet_user("more of it")
      .initiate_chat(alice, "go", {.max_turns = 2, .observer = Observer([&](const Event& event) {
                                                     if (const auto* warning =
                                                             std::get_if<Warning>(&event.data)) {
                                                       warnings.push_back(warning->text);
                                                     }
                                                   })});
  CHECK(prompts.at(1).size() == 4);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].starts_with("the older messages could not be summarised: server_error"));
}
