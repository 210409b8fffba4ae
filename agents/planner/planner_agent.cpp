// Magentic-One's two loops, with its traps closed. There the orchestrator's own calls are seen by
// no condition, so one that only re-plans cannot be stopped; a new plan does not reset the count of
// stalls, so every further round without progress makes another plan (64 calls for two turns of
// work, measured); and n rounds allow n + 1. Here every call goes through `ask`, which looks at the
// chat's bounds first; a new plan starts with no stalls; new plans are counted; and the loop is a
// loop.
//
//   facts, plan                                        2 calls
//   each round: ledger (1 call, more if malformed), then the turn of the agent that it names
//   stalled:    facts, plan anew                       2 calls, at most max_replans times
//   the end:    the answer                             1 call
#include <moderato/agents/planner/planner_agent.hpp>

#include <fmt/core.h>

#include <set>
#include <stdexcept>

#include <moderato/agents/cut_by_budget.hpp>
#include <moderato/agents/group/group_state.hpp>
#include <moderato/agents/planner/ledger.hpp>
#include <moderato/agents/prompt.hpp>
#include <moderato/agents/team_turn.hpp>

namespace moderato {
namespace {

constexpr const char* ask_for_facts =
    "List briefly what is known about the task above, what has to be looked up, what has to be "
    "worked out, and what may be guessed.";
constexpr const char* ask_for_new_facts =
    "We are not getting on. Write the list of facts anew, with what we have learnt since.";
constexpr const char* ask_for_plan =
    "These agents work for you:\n{}\nWrite a short plan, step by step, of who does what. Not all "
    "of them are needed.";
constexpr const char* ask_for_new_plan =
    "Say briefly what went wrong, and write a new plan that avoids it, for these agents:\n{}";
constexpr const char* ask_for_ledger =
    "Fill in the ledger, as one JSON object with these members and nothing around it: "
    "\"is_request_satisfied\" (true if the task is fully done), \"is_progress_being_made\" (true "
    "if the last messages got us further), \"is_in_loop\" (true if the same is done again and "
    "again), \"next_speaker\" (one of: {}), \"instruction_or_question\" (what you tell it to do "
    "next).";
constexpr const char* ask_for_answer =
    "The work is over. Give the final answer to the task, for the person who asked.";

struct Planner {
  explicit Planner(PlannerOptions given) : options(std::move(given)) {
    const auto require = [&](bool holds, const std::string& why) {
      if (!holds) throw std::invalid_argument(fmt::format("planner \"{}\": {}", options.name, why));
    };
    require(static_cast<bool>(options.model), "no model");
    require(!options.agents.empty(), "no agents");
    std::set<std::string> seen{options.name};
    for (const ConversableAgent& agent : options.agents) {
      require(seen.insert(agent.name()).second,
              fmt::format("two agents are called \"{}\"", agent.name()));
      names.push_back(agent.name());
    }
    require(options.max_rounds >= 1 && options.max_stalls >= 1 && options.max_ledger_tries >= 1 &&
                options.max_tool_rounds >= 1 && options.max_replans >= 0,
            "a bound is too low");
  }
  PlannerOptions options;
  std::vector<std::string> names{};
};

enum class Asked : std::uint8_t { plan, ledger, answer };

class PlannerRun {
 public:
  PlannerRun(const ReplyRequest& request, const Planner& planner)
      : request_(request), chat_(request.conversation), planner_(planner) {}

  Reply run() {
    const Message& task = **request_.messages.back();
    const std::string who = request_.sender != nullptr ? request_.sender->name() : "user";
    thread_.push_back(store(as_kept(task, task.name.empty() ? who : task.name, Role::user)));
    if (Stop stop = plan(false)) return Reply::none(std::move(stop));
    for (std::int64_t round = 0; round < planner_.options.max_rounds; ++round) {
      auto ledger = keep_ledger();
      if (!ledger) return Reply::none(std::move(ledger).error());
      if (ledger->is_request_satisfied) {
        return answer({.reason = StopReason::condition,
                       .agent = planner_.options.name,
                       .rule = "completed",
                       .detail = "the task is done"});
      }
      const bool stuck = !ledger->is_progress_being_made || ledger->is_in_loop;
      stalls_ = stuck ? stalls_ + 1 : std::max<std::int64_t>(0, stalls_ - 1);
      if (stalls_ >= planner_.options.max_stalls) {
        if (++replans_ > planner_.options.max_replans) return answer(stalled());
        if (Stop stop = plan(true)) return Reply::none(std::move(stop));
        stalls_ = 0;
        continue;
      }
      if (Stop stop = turn_of(*ledger)) return Reply::none(std::move(stop));
    }
    return answer({.reason = StopReason::max_messages,
                   .agent = planner_.options.name,
                   .rule = fmt::format("max_rounds({})", planner_.options.max_rounds),
                   .detail = fmt::format("{} rounds", planner_.options.max_rounds)});
  }

 private:
  Stop stalled() const {
    return {.reason = StopReason::repetition,
            .agent = planner_.options.name,
            .rule = fmt::format("max_replans({})", planner_.options.max_replans),
            .detail = fmt::format("no progress after {} new plans", planner_.options.max_replans)};
  }

  // The one place where the planner's model is asked.
  tl::expected<std::string, Stop> ask(const MessageList& asked, Asked what) {
    const std::string& name = planner_.options.name;
    if (Stop stop = chat_.check(name, true)) return tl::unexpected<Stop>(std::move(stop));
    ModelRequest request{.messages = make_prompt(nullptr, seen_by_planner(), false),
                         .sampling = planner_.options.sampling};
    for (const MessagePtr& message : asked) request.messages.push_back(message);
    if (what == Asked::ledger && !schema_refused_ &&
        planner_.options.model.provider() == "openai") {
      request.sampling.response_format = ledger_format(planner_.names);
    }
    const CallContext context =
        chat_.context(name, what == Asked::answer ? Purpose::final_answer : Purpose::planning);
    auto reply = planner_.options.model.complete(request, context);
    if (!reply && reply.error().code == ErrorCode::invalid_request &&
        !request.sampling.response_format.is_null()) {
      schema_refused_ = true;
      request.sampling.response_format = nullptr;
      reply = planner_.options.model.complete(request, context);
    }
    if (reply && what == Asked::ledger &&
        cut_by_budget(planner_.options.model, request, *reply, context)) {
      reply = budget_cut("the ledger", *reply, context);
    }
    if (!reply) return tl::unexpected<Stop>(stop_from(std::move(reply).error(), name));
    return reply->message.text();
  }

  MessageList seen_by_planner() const {
    MessageList seen;
    for (const MessagePtr& message : thread_) {
      const bool own = (*message)->name == planner_.options.name;
      seen.push_back(
          store(as_kept(**message, (*message)->name, own ? Role::assistant : Role::user)));
    }
    return seen;
  }

  // Says something to the agents.
  Stop say(std::string text, MessageKind kind) {
    thread_.push_back(store(Message::assistant(std::move(text), planner_.options.name)));
    return chat_.announce(request_.agent, request_.agent, thread_.back(), kind);
  }

  Stop plan(bool anew) {
    const MessagePtr for_facts = store(Message::user(anew ? ask_for_new_facts : ask_for_facts));
    auto facts = ask({for_facts}, Asked::plan);
    if (!facts) return std::move(facts).error();
    const std::string team = role_list(planner_.options.agents);
    const std::string words =
        anew ? fmt::format(ask_for_new_plan, team) : fmt::format(ask_for_plan, team);
    auto steps = ask({for_facts, store(Message::assistant(*facts)), store(Message::user(words))},
                     Asked::plan);
    if (!steps) return std::move(steps).error();
    return say(fmt::format("Facts:\n{}\n\nPlan:\n{}", *facts, *steps), MessageKind::reply);
  }

  tl::expected<PlannerLedger, Stop> keep_ledger() {
    std::string names;
    for (const std::string& name : planner_.names) names += (names.empty() ? "" : ", ") + name;
    MessageList asked{store(Message::user(fmt::format(ask_for_ledger, names)))};
    for (std::int64_t tries = 1;; ++tries) {
      auto said = ask(asked, Asked::ledger);
      if (!said) return tl::unexpected<Stop>(std::move(said).error());
      auto ledger = read_ledger(*said, planner_.names);
      if (ledger) return std::move(*ledger);
      if (tries == planner_.options.max_ledger_tries) {
        return tl::unexpected<Stop>(stop_from(std::move(ledger).error(), planner_.options.name));
      }
      asked.push_back(store(Message::assistant(*said)));
      asked.push_back(store(Message::user(ledger.error().message + " Write it again.")));
    }
  }

  Stop turn_of(const PlannerLedger& ledger) {
    if (Stop stop = say(fmt::format("{}: {}", ledger.next_speaker, ledger.instruction),
                        MessageKind::reply)) {
      return stop;
    }
    for (const ConversableAgent& agent : planner_.options.agents) {
      if (agent.name() != ledger.next_speaker) continue;
      return team_turn(chat_, request_.agent, agent, thread_, planner_.options.max_tool_rounds);
    }
    return {};
  }

  Reply answer(Stop stop) {
    auto text = ask({store(Message::user(ask_for_answer))}, Asked::answer);
    if (!text) return Reply::none(std::move(text).error());
    return team_answer(request_, std::move(*text), std::move(stop));
  }

  const ReplyRequest& request_;
  Conversation& chat_;
  const Planner& planner_;
  Thread thread_;
  std::int64_t stalls_ = 0;
  std::int64_t replans_ = 0;
  bool schema_refused_ = false;
};

ConversableOptions as_agent(const std::shared_ptr<const Planner>& planner) {
  return {.name = planner->options.name,
          .system_message = "A planner that leads other agents.",
          .description = planner->options.description,
          .model = planner->options.model,
          .human_input_mode = HumanInputMode::never,
          .replies = {ReplyRegistration{.reply =
                                            [planner](const ReplyRequest& request) {
                                              return PlannerRun(request, *planner).run();
                                            },
                                        .remove_other_reply_funcs = true}}};
}

ConversableOptions made_from(PlannerOptions options) {
  return as_agent(std::make_shared<const Planner>(std::move(options)));
}

}  // namespace

PlannerAgent::PlannerAgent(PlannerOptions options)
    : ConversableAgent(AgentKind::team, made_from(options),
                       AgentInside{.members = options.agents, .group = nullptr}) {}

}  // namespace moderato
