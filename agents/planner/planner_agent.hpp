#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <moderato/agents/conversable_agent.hpp>

namespace moderato {

struct PlannerOptions {
  std::string name = "planner";
  std::string description{};
  Model model{};  ///< Required: makes the plan and keeps the ledger.
  Sampling sampling{};
  std::vector<ConversableAgent> agents{};  ///< Who does the work; their descriptions say what.
  /// Turns of the agents in one run.
  std::int64_t max_rounds = 20;
  /// Rounds without progress, less those with it, until the plan is made anew.
  std::int64_t max_stalls = 3;
  /// New plans in one run; when they are used up, the next stall ends it (StopReason::repetition).
  std::int64_t max_replans = 2;
  /// Answers of the model that are no ledger, or name a stranger, until the run ends with
  /// model_error.
  std::int64_t max_ledger_tries = 3;
  /// Tool rounds in one turn of one agent.
  int max_tool_rounds = 10;
};

/// An agent that solves a task with others, after Magentic-One: it collects facts and makes a plan
/// (outer loop); then, round by round, it keeps a ledger (is the task done, is there progress, who
/// does what next) and gives the next agent its instruction (inner loop). When it stalls, facts and
/// plan are made anew and the stalls are counted from zero. Its answer ends the chat with
/// the rule "completed"; a run whose bounds are used up ends with max_messages (max_rounds) or
/// repetition (max_replans), after one call for the best answer there is.
///
/// Chat with it like with any agent. Every call, the planner's own included, is charged to the
/// chat's budget, and its conditions, deadline and stop token are looked at before each: also a
/// planner that only talks to itself can be stopped.
///
/// Throws std::invalid_argument: no model, no agents, two agents of one name, a bound below 1
/// (max_replans: below 0).
class PlannerAgent : public ConversableAgent {
 public:
  explicit PlannerAgent(PlannerOptions options);
};

}  // namespace moderato
