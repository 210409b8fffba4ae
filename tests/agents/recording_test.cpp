#include <moderato/core/journal/recording.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "../support/temporary_folder.hpp"
#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}
void write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

struct Counters {
  int models = 0;
  int tools = 0;
};

/// A talk with a tool; `file` says whether it is recorded or replayed.
ChatResult talk(const std::string& file, Counters& count, const std::string& question = "hello",
                RecordingOptions options = {}) {
  Simulation world({.seed = 1});
  Session session(world, recorded_session(file, std::move(options)).value());
  const Model model = world.model(
      scripted([&](const ModelRequest&) -> Result<ModelReply> {
        if (++count.models == 1) return ModelReply{.message = calls("dice", "{}")};
        return ModelReply{.message = Message::assistant("take " + std::to_string(count.models))};
      }),
      {.limiter = unlimited()});
  const Tool dice = tool("dice", "throws a die", [&] { return ++count.tools; });
  const AssistantAgent alice({.name = "alice", .model = model, .tools = {dice}});
  return quiet_user("go on").initiate_chat(alice, question, {.max_turns = 3, .session = &session});
}

}  // namespace

TEST_CASE("a conversation is recorded once, and replayed ever after without model and tools") {
  const test::TemporaryFolder folder;
  const std::string file = folder / "talk.jsonl";
  Counters live;
  const ChatResult first = talk(file, live);
  CHECK(live.models == 3);
  CHECK(live.tools == 1);
  const std::string recorded = text_of(file);
  CHECK(recorded.find(R"("kind":"tool_result","name":"dice")") != std::string::npos);
  for (int again = 0; again < 2; ++again) {
    Counters replayed;
    const ChatResult chat = talk(file, replayed);
    CHECK(replayed.models + replayed.tools == 0);
    CHECK(spoken(chat.transcript) == spoken(first.transcript));
    CHECK(chat.stop == first.stop);
    CHECK(chat.usage == first.usage);
  }
  CHECK(text_of(file) == recorded);
}

TEST_CASE("a changed conversation stops with both sides, until it is recorded again") {
  const test::TemporaryFolder folder;
  const std::string file = folder / "talk.jsonl";
  Counters count;
  talk(file, count);
  count = {};
  const ChatResult changed = talk(file, count, "good evening");
  CHECK(changed.stop.reason == StopReason::replay_mismatch);
  CHECK(changed.stop.detail.find("good evening") != std::string::npos);
  CHECK(count.models == 0);
  const ChatResult again = talk(file, count, "good evening", {.again = true});
  CHECK(count.models == 3);
  CHECK(again.stop.reason == StopReason::max_turns);
  count = {};
  CHECK(spoken(talk(file, count, "good evening").transcript) == spoken(again.transcript));
  CHECK(count.models == 0);
}

TEST_CASE("a recording that breaks off, or is damaged, says where") {
  const test::TemporaryFolder folder;
  const std::string file = folder / "talk.jsonl";
  Counters count;
  talk(file, count);
  const std::string whole = text_of(file);

  write(file, whole.substr(0, whole.rfind("{\"run\"")));
  const ChatResult cut = talk(file, count);
  CHECK(cut.stop.reason == StopReason::replay_mismatch);

  const auto error_of = [&](const std::string& text) {
    write(file, text);
    const auto options = recorded_session(file);
    REQUIRE_FALSE(options);
    CHECK(options.error().code == ErrorCode::storage);
    return options.error().message;
  };
  CHECK(error_of("{\"run\":").find("line 1 of the recording") == 0);
  CHECK(error_of(whole + "{\"run\":\"recorded\"}\n").find("Record again") != std::string::npos);
  CHECK(error_of("[]\n").find("line 1") == 0);
  CHECK(error_of("").find("is empty") != std::string::npos);
  // Cut at any byte it is refused or it stops; it never crashes.
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    write(file, whole.substr(0, size));
    if (auto options = recorded_session(file)) {
      Simulation world;
      CHECK_NOTHROW(Session(world, std::move(*options)));
    }
  }
}

TEST_CASE("a recording that cannot be made, or is a folder, is an error that names it") {
  const test::TemporaryFolder folder;
  const auto missing = recorded_session(folder / "no/such/folder.jsonl");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == ErrorCode::configuration);
  CHECK(missing.error().message.find("no/such/folder.jsonl cannot be made: No such file") !=
        std::string::npos);
  std::filesystem::create_directory(folder / "sub");
  const auto directory = recorded_session(folder / "sub");
  REQUIRE_FALSE(directory);
  CHECK(directory.error().message.find("sub") != std::string::npos);
}
