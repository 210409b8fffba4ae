#include <doctest/doctest.h>

#include <stdexcept>

#include "agents/scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

// Gives the same result for everything, and keeps what it was given.
class FixedExecutor final : public CodeExecutor {
 public:
  explicit FixedExecutor(Result<CodeResult> result) : result_(std::move(result)) {}
  Result<CodeResult> execute(const std::vector<CodeBlock>& blocks,
                             const std::stop_token&) override {
    runs.push_back(blocks);
    return result_;
  }
  std::vector<std::vector<CodeBlock>> runs;

 private:
  Result<CodeResult> result_;
};

UserProxyAgent runner(std::shared_ptr<CodeExecutor> executor,
                      std::optional<std::size_t> last_n = std::nullopt) {
  return UserProxyAgent(
      {.name = "user",
       .human_input_mode = HumanInputMode::never,
       .code_execution = {.executor = std::move(executor), .last_n_messages = last_n}});
}

constexpr const char* code = "Run:\n```python\nprint(1)\n```";

}  // namespace

TEST_CASE("code in a message is run, and the answer is its exit code and output") {
  Simulation world;
  auto executor = std::make_shared<FixedExecutor>(CodeResult{0, "1\n"});
  AssistantAgent alice({.name = "alice", .model = says(world, {code, "TERMINATE"})});
  const ChatResult chat = runner(executor).initiate_chat(alice, "go");
  CHECK(spoken(chat.transcript)[2] == "user: exitcode: 0 (execution succeeded)\nCode output: 1\n");
  CHECK(chat.transcript[2].kind == MessageKind::code_result);
  REQUIRE(executor->runs.size() == 1);
  CHECK(executor->runs[0] == std::vector<CodeBlock>{{"python", "print(1)"}});
}

TEST_CASE("code that fails is an answer, no end") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {code, "TERMINATE"})});
  const ChatResult chat =
      runner(std::make_shared<FixedExecutor>(CodeResult{2, "bad"})).initiate_chat(alice, "go");
  CHECK(spoken(chat.transcript)[2] == "user: exitcode: 2 (execution failed)\nCode output: bad");
  CHECK(chat.stop.reason == StopReason::termination_message);
}

TEST_CASE("an executor that cannot run anything ends the chat with its error") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {code})});
  const ChatResult chat =
      runner(std::make_shared<FixedExecutor>(fail(ErrorCode::configuration, "no sandbox")))
          .initiate_chat(alice, "go");
  CHECK(chat.stop.reason == StopReason::tool_error);
  CHECK(chat.stop.detail == "no sandbox");
}

TEST_CASE("executor-scan-zero-means-all: 0 messages are none, and no code is run") {
  Simulation world;
  auto executor = std::make_shared<FixedExecutor>(CodeResult{0, ""});
  AssistantAgent alice({.name = "alice", .model = says(world, {code, "TERMINATE"})});
  runner(executor, 0).initiate_chat(alice, "go");
  CHECK(executor->runs.empty());
}

TEST_CASE("an agent without an executor runs nothing") {
  Simulation world;
  AssistantAgent alice({.name = "alice", .model = says(world, {code, "TERMINATE"})});
  const ChatResult chat = quiet_user("as you say").initiate_chat(alice, "go");
  CHECK(spoken(chat.transcript)[2] == "user: as you say");
}

TEST_CASE("a replay gives back what code printed, and runs none") {
  Simulation world;
  auto journal = std::make_shared<MemoryJournal>();
  auto executor = std::make_shared<FixedExecutor>(CodeResult{0, "1\n"});
  const auto run = [&](JournalMode mode) {
    Session session(world, {.id = "run", .journal = journal, .journal_mode = mode});
    AssistantAgent alice({.name = "alice", .model = says(world, {code, "TERMINATE"})});
    return spoken(runner(executor).initiate_chat(alice, "go", {.session = &session}).transcript);
  };
  const Lines first = run(JournalMode::record);
  CHECK(run(JournalMode::replay) == first);
  CHECK(executor->runs.size() == 1);
}
