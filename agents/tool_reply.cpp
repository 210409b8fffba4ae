#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include <moderato/agents/conversation.hpp>
#include <moderato/agents/effect_text.hpp>
#include <moderato/agents/tool_call.hpp>
#include <moderato/agents/worker_call.hpp>

namespace moderato {
namespace {

ToolEffect run_counted(Session& session, const Tool& tool, const ToolCall& call,
                       const CallContext& chat, TellProgress progress) {
  const auto totals = std::make_shared<CallTotals>();  // the tool may outlive the session
  ToolContext context{
      .agent = chat.agent, .call_id = call.id, .session = session.id(), .context = chat};
  context.context.effects = nullptr;
  context.context.totals = totals.get();
  context.progress = std::move(progress);
  auto text = run_within(session.runtime(), tool, call, std::move(context), chat, totals);
  return {.text = std::move(text), .spent = totals->snapshot()};
}

Error interrupted_tool(const ToolCall& call) {
  return {.code = ErrorCode::interrupted,
          .message = fmt::format(
              "{}({}) had been started when the run was interrupted, it is not known whether it "
              "did its work, and it is not idempotent: resume with interrupted_tools = run_again "
              "or tell_model",
              call.name, call.arguments)};
}

}  // namespace

// The model calls that a tool makes are part of its result: they are no effects of their own, and
// what they used is recorded with the text, so that a replay charges it and calls nobody. A tool
// that acts in the session is the other way round: its effects are recorded one by one.
Result<std::string> Conversation::run_tool(Turn& turn, const ToolCall& call,
                                           std::optional<std::uint64_t> step) {
  const Tool* tool = tool_for(turn, call.name);
  if (tool == nullptr) {
    return fail(ErrorCode::tool_failed, fmt::format("Function {} not found.", call.name));
  }
  auto& repeatable = repetition_.repeatable_tools;
  if (tool->repeatable() &&
      std::find(repeatable.begin(), repeatable.end(), call.name) == repeatable.end()) {
    repeatable.push_back(call.name);
  }
  const bool in_session = tool->options().acts_in_session;
  const EffectLog& effects = session_.effects();
  const bool started_before =
      step ? effects.was_interrupted(*step) : effects.next_was_interrupted();
  const bool interrupted = started_before && !tool->idempotent() && !in_session;
  const InterruptedTools choice = session_.options().interrupted_tools;
  if (interrupted && choice == InterruptedTools::stop) return fail(interrupted_tool(call));
  notify([&] { return ToolStarted{turn.name(), call.name, call.arguments, call.id}; });
  const Instant began = session_.runtime().clock().now();
  const CallContext chat = context(turn.name(), Purpose::other);
  TellProgress progress;
  if (base_.observer) {
    progress = [&](std::string text) {
      notify([&] { return ToolProgress{turn.name(), call.name, call.id, std::move(text)}; });
    };
  }
  const auto run_here = [&] {
    ToolContext here{
        .agent = turn.name(), .call_id = call.id, .session = session_.id(), .context = chat};
    here.progress = progress;
    here.conversation = this;
    return run_within(session_.runtime(), *tool, call, std::move(here), chat, nullptr);
  };
  bool performed = false;
  const auto run = [&]() -> ToolEffect {
    performed = true;
    if (interrupted && choice == InterruptedTools::tell_model) {
      return {.text = fail(ErrorCode::tool_failed,
                           fmt::format("{} was interrupted. It is not known whether it did its "
                                       "work.",
                                       call.name))};
    }
    return run_counted(session_, *tool, call, chat, progress);
  };
  const auto as_effect = [&]() -> Result<std::string> {
    auto effect = session_.effects().effect_at<ToolEffect>(
        step ? *step : session_.effects().take_steps(1), EffectKind::tool_result, call.name,
        [&] { return call.id + ' ' + call.arguments; }, run, encode_tool_effect,
        decode_tool_effect);
    if (!effect) return fail(std::move(effect).error());
    session_.totals().add(effect->spent);
    if (!performed && base_.budget) base_.budget->charge(effect->spent.usage.total());
    return std::move(effect->text);
  };
  Result<std::string> result = in_session ? run_here() : as_effect();
  notify([&] {
    return ToolFinished{.agent = turn.name(),
                        .tool = call.name,
                        .call_id = call.id,
                        .ok = result.has_value(),
                        .took = session_.runtime().clock().now() - began,
                        .result = result ? *result : result.error().message};
  });
  return result;
}

// A person's leave to run a tool; nullopt: it may run. What they say instead is an answer to the
// call, like any other failure.
std::optional<Result<std::string>> Conversation::refused(Turn& turn, const ToolCall& call) {
  const Tool* tool = tool_for(turn, call.name);
  if (tool == nullptr || !tool->options().approval.asks_human()) return std::nullopt;
  if (!tool->check(call.arguments)) return std::nullopt;  // it will not run anyway
  auto answer = ask_human(turn.self, HumanSituation::tool_approval,
                          turn.sender != nullptr ? turn.sender->name() : std::string(),
                          approval_question(turn.name(), call));
  if (!answer) return Result<std::string>(fail(std::move(answer).error()));
  if (auto why = refusal_in(*answer, call)) {
    return Result<std::string>(fail(ErrorCode::tool_failed, std::move(*why)));
  }
  return std::nullopt;
}

// What the model is told about a call. A failure is an answer like any other, so that the model can
// correct its arguments or go another way; only what no model can mend ends the chat.
tl::expected<std::string, Stop> Conversation::tool_answer(Turn& turn, Result<std::string> result) {
  if (!result && ends_the_chat(result.error().code)) {
    const bool human = result.error().code == ErrorCode::human_unavailable;
    return tl::unexpected<Stop>(
        stop_from(std::move(result).error(), turn.name(),
                  human ? StopReason::human_error : StopReason::tool_error));
  }
  if (Stop stop = external_stop(turn.name())) return tl::unexpected<Stop>(std::move(stop));
  return result ? std::move(*result) : "Error: " + result.error().message;
}

// All at a time that the agent allows. Steps are taken before any tool runs, so that they do not
// depend on which begins first. What acts in the session comes last, one after the other: its own
// effects are numbered as they come.
void Conversation::run_tools_together(Turn& turn, const std::vector<ToolCall>& calls,
                                      ToolResults& results) {
  std::vector<std::size_t> together;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const Tool* tool = tool_for(turn, calls[i].name);
    const bool effect = tool != nullptr && !tool->options().acts_in_session;
    if (!results[i] && effect) together.push_back(i);
  }
  const std::uint64_t first_step = session_.effects().take_steps(together.size());
  std::size_t next = 0;
  const auto work = [&] {
    while (next < together.size()) {
      const std::size_t place = next++;
      const std::size_t i = together[place];
      results[i] = run_tool(turn, calls[i], first_step + place);
    }
  };
  std::vector<Task<void>> tasks;
  const std::size_t fibers =
      std::min(turn.self.agent.options().max_parallel_tools, together.size());
  for (std::size_t i = 0; i < fibers; ++i) {
    tasks.push_back(session_.runtime().spawn(work, {.name = "tool"}));
  }
  for (Task<void>& task : tasks) task.join();
}

Reply Conversation::function_call_reply(Turn& turn) {
  const auto& call = turn.last().function_call;
  if (!call) return Reply::pass();
  auto answer = one_answer(turn, {.id = {}, .name = call->name, .arguments = call->arguments});
  if (!answer) return Reply::none(std::move(answer).error());
  return Reply::say(
      Message{.role = Role::function, .content = std::move(*answer), .name = call->name},
      MessageKind::tool_result);
}

tl::expected<std::string, Stop> Conversation::one_answer(Turn& turn, const ToolCall& call) {
  if (auto refusal = refused(turn, call)) return tool_answer(turn, std::move(*refusal));
  return tool_answer(turn, run_tool(turn, call));
}

// One message answers all calls of the last one, in their order: one after the other unless the
// agent allows more, as a later call may rely on what an earlier one did. A person is asked about
// all of them before any is run: a chat that ends with a question still open (awaiting_human) goes
// on with these calls later, and what had been run by then would be run twice.
Reply Conversation::tool_calls_reply(Turn& turn) {
  if (turn.last().tool_calls.empty()) return Reply::pass();
  const std::vector<ToolCall> calls = turn.last().tool_calls;
  ToolResults results(calls.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    results[i] = refused(turn, calls[i]);
    if (results[i] && !*results[i] && ends_the_chat(results[i]->error().code)) {
      return Reply::none(tool_answer(turn, std::move(*results[i])).error());
    }
  }
  if (turn.self.agent.options().max_parallel_tools > 1 && calls.size() > 1) {
    run_tools_together(turn, calls, results);
  }

  Message reply{.role = Role::tool};
  std::string joined;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    auto answer = tool_answer(turn, results[i] ? std::move(*results[i]) : run_tool(turn, calls[i]));
    if (!answer) return Reply::none(std::move(answer).error());
    if (!reply.tool_responses.empty()) joined += "\n\n";
    joined += *answer;
    reply.tool_responses.push_back({.tool_call_id = calls[i].id, .content = std::move(*answer)});
  }
  reply.content = std::move(joined);
  return Reply::say(std::move(reply), MessageKind::tool_result);
}

}  // namespace moderato
