#include <doctest/doctest.h>

#include <algorithm>

#include "agents/scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

const std::string long_text(400, 'x');  // some 100 tokens

// Refuses prompts of more than `most` messages, as a provider does that counts better than we.
Model refuses_more_than(Runtime& runtime, std::size_t most, std::vector<std::size_t>& sizes) {
  return runtime.model(scripted([&sizes, most](const ModelRequest& request) -> Result<ModelReply> {
                         sizes.push_back(request.messages.size());
                         if (request.messages.size() <= most) {
                           return ModelReply{.message = Message::assistant(long_text)};
                         }
                         return fail(ErrorCode::context_overflow, "too long");
                       }),
                       {.limiter = unlimited(), .retry = {.max_attempts = 1}});
}

}  // namespace

TEST_CASE("a prompt stays within the model's context window, and observers are told") {
  Simulation world;
  std::vector<std::size_t> sizes;
  std::vector<ContextTrimmed> told;
  Model model = world.model(
      scripted([&](const ModelRequest& request) -> Result<ModelReply> {
        sizes.push_back(request.messages.size());
        return ModelReply{.message = Message::assistant(long_text)};
      }),
      {.limiter = unlimited(), .default_max_output_tokens = 100, .context_window = 450});
  AssistantAgent alice({.name = "alice", .system_message = "s", .model = model});
  const ChatResult chat = quiet_user(long_text).initiate_chat(
      alice, long_text,
      {.max_turns = 4,
       .observer = Observer([&](const Event& event) {
         if (const auto* trimmed = std::get_if<ContextTrimmed>(&event.data)) {
           told.push_back(*trimmed);
         }
       }),
       .repetition = {.stop_after = 0}});
  CHECK(chat.stop.reason == StopReason::max_turns);
  CHECK(sizes == std::vector<std::size_t>{2, 4, 4, 4});
  REQUIRE(told.size() == 2);
  CHECK(told[0].by == "context window");
  CHECK(told[0].messages_left_out == 2);
  CHECK(chat.transcript.size() == 8);
}

TEST_CASE("a window that nobody knew is learnt from the provider's refusal") {
  Simulation world;
  std::vector<std::size_t> sizes;
  AssistantAgent alice(
      {.name = "alice", .system_message = "s", .model = refuses_more_than(world, 5, sizes)});
  const ChatResult chat = quiet_user(long_text).initiate_chat(
      alice, long_text, {.max_turns = 5, .repetition = {.stop_after = 0}});
  CHECK(chat.stop.reason == StopReason::max_turns);
  // The third prompt (six messages) is refused once; later ones are made to fit at once.
  CHECK(sizes == std::vector<std::size_t>{2, 4, 6, 4, 4, 4});
}

TEST_CASE("a message that does not fit alone ends the chat with the provider's error") {
  Simulation world;
  std::vector<std::size_t> sizes;
  AssistantAgent alice(
      {.name = "alice", .system_message = "s", .model = refuses_more_than(world, 1, sizes)});
  const ChatResult chat = quiet_user().initiate_chat(alice, long_text);
  CHECK(chat.stop.reason == StopReason::model_error);
  REQUIRE(chat.stop.error.has_value());
  CHECK(chat.stop.error->code == ErrorCode::context_overflow);
  CHECK(sizes.size() == 1);
}

TEST_CASE("context windows are known by name, dated names included") {
  CHECK(known_context_window("gpt-4o-mini-2024-07-18") == 128'000);
  CHECK(known_context_window("gpt-4") == 8'192);
  CHECK(known_context_window("gpt-4-turbo-2024-04-09") == 128'000);
  CHECK_FALSE(known_context_window("my-own-model").has_value());
}
