#include <doctest/doctest.h>

#include <moderato/agents/planner/planner_agent.hpp>
#include <moderato/termination/condition.hpp>

#include "../scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

std::string ledger(bool satisfied, bool progress, const std::string& next) {
  const auto word = [](bool value) { return value ? "true" : "false"; };
  return std::string(R"({"is_request_satisfied": )") + word(satisfied) +
         R"(, "is_progress_being_made": )" + word(progress) +
         R"(, "is_in_loop": false, "instruction_or_question": "go on", "next_speaker": ")" + next +
         "\"}";
}

struct Team {
  Simulation world{{.ledger = std::make_shared<MemoryLedger>()}};
  PlannerOptions options(std::vector<ScriptedReply> replies,
                         OnExhausted then = OnExhausted::error) {
    return {.model = says(world, std::move(replies), {.on_exhausted = then}),
            .agents = {AssistantAgent({.name = "coder", .model = repeats(world, "code")}),
                       AssistantAgent({.name = "tester", .model = repeats(world, "tests pass")})}};
  }
  std::int64_t billed() {
    std::int64_t tokens = 0;
    for (const auto& record : static_cast<const MemoryLedger&>(*world.ledger()).records()) {
      tokens += record.usage.total();
    }
    return tokens;
  }
};

}  // namespace

TEST_CASE("a planner plans, keeps its ledger, lets its agents work, and answers") {
  Team team;
  const PlannerAgent planner(team.options({"facts", "plan", ledger(false, true, "coder"),
                                           "```json\n" + ledger(false, true, "tester") + "\n```",
                                           ledger(true, true, "coder"), "here is your program"}));
  const ChatResult chat = quiet_user().initiate_chat(planner, "write a program");
  CHECK(spoken(chat.transcript) ==
        Lines{"user: write a program", "planner: Facts:\nfacts\n\nPlan:\nplan",
              "planner: coder: go on", "coder: code", "planner: tester: go on",
              "tester: tests pass", "planner: here is your program"});
  CHECK(chat.stop.rule == "completed");
  CHECK(chat.calls == 8);
  CHECK(chat.usage.total() == team.billed());
}

TEST_CASE("a planner that stalls makes a bounded number of new plans, and then ends") {
  Team team;
  // Everything it is asked it answers with a ledger that tells of no progress.
  PlannerOptions options = team.options({ledger(false, false, "coder")}, OnExhausted::cycle);
  options.max_stalls = 2;
  options.max_replans = 1;
  const ChatResult chat = quiet_user().initiate_chat(
      PlannerAgent(options), "task", {.repetition = {.report_after = 0, .stop_after = 0}});
  CHECK(chat.stop.reason == StopReason::repetition);
  // 2 plan + (ledger, turn, ledger) + 2 plan + (ledger, turn, ledger) + answer
  CHECK(chat.calls == 11);
  CHECK(chat.usage.total() == team.billed());
}

TEST_CASE("a planner keeps to the chat's bounds also while it only talks to itself") {
  Team team;
  PlannerOptions options = team.options({ledger(false, false, "coder")}, OnExhausted::cycle);
  options.max_replans = 1000;
  options.max_rounds = 1000;
  options.max_stalls = 1;
  const PlannerAgent planner(options);
  const ChatResult poor = quiet_user().initiate_chat(
      planner, "task", {.token_budget = 5000, .repetition = {.report_after = 0, .stop_after = 0}});
  CHECK(poor.stop.reason == StopReason::token_budget);
  CHECK(poor.usage.total() <= 5000);
  const ChatResult few = quiet_user().initiate_chat(planner, "task", {.termination = max_calls(7)});
  CHECK(few.calls <= 7);
}

TEST_CASE("a ledger that is none is asked for again, a bounded number of times") {
  Team team;
  const ChatResult mended = quiet_user().initiate_chat(
      PlannerAgent(team.options({"facts", "plan", "no idea", ledger(false, true, "zed"),
                                 ledger(true, true, "coder"), "answer"})),
      "task");
  CHECK(mended.stop.rule == "completed");
  const ChatResult broken = quiet_user().initiate_chat(
      PlannerAgent(team.options({"facts", "plan", "no", "no", "no"})), "task");
  CHECK(broken.stop.reason == StopReason::model_error);
  CHECK(broken.stop.detail.find("no JSON object") != std::string::npos);
}

TEST_CASE("a planner without a model or with two agents of one name is refused") {
  Team team;
  CHECK_THROWS_AS(PlannerAgent(PlannerOptions{}), std::invalid_argument);
  PlannerOptions options = team.options({"x"});
  options.agents.push_back(options.agents.front());
  CHECK_THROWS_WITH_AS(PlannerAgent{options},
                       "planner \"planner\": two agents are called \"coder\"",
                       std::invalid_argument);
}
