#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include <moderato/agents/conversation.hpp>
#include <moderato/agents/effect_text.hpp>
#include <moderato/agents/worker_call.hpp>

namespace moderato {
namespace {

// Failures that a model cannot mend by trying again: they end the chat instead of being told to it.
bool ends_the_chat(ErrorCode code) {
  return code == ErrorCode::cancelled || code == ErrorCode::deadline_exceeded ||
         code == ErrorCode::replay_mismatch || code == ErrorCode::storage ||
         code == ErrorCode::interrupted;
}

// Whoever receives a call runs it: with its own tool of that name, else with the one that the
// caller was offered (a declaration without a function runs nothing).
const Tool* tool_for(const Turn& turn, std::string_view name) {
  if (const Tool* own = AgentDefinition::of(turn.self.agent).runnable(name)) return own;
  if (turn.sender == nullptr) return nullptr;
  const Tool* offered = AgentDefinition::of(*turn.sender).offered_tool(name);
  return offered != nullptr && offered->has_function() ? offered : nullptr;
}

// What a tool that nobody waits for any more still does is not shown: who watched the chat may be
// gone.
Observer until(const std::stop_token& stop, Observer observer) {
  if (!observer) return observer;
  return Observer([stop, observer = std::move(observer)](const Event& event) {
    if (!stop.stop_requested()) observer(event);
  });
}

// The tool's own time limit is an answer for the model; the chat's deadline ends the chat.
Result<std::string> run_within(Runtime& runtime, const Tool& tool, const ToolCall& call,
                               ToolContext context, const CallContext& chat,
                               const std::shared_ptr<CallTotals>& totals) {
  const Instant limit = tool.timeout() > Duration::zero()
                            ? saturating_add(runtime.clock().now(), tool.timeout())
                            : no_deadline;
  context.deadline = std::min(limit, chat.deadline);
  context.context.deadline = context.deadline;
  if (tool.runs_inline()) {
    context.stop = chat.stop;
    return tool.call(call.arguments, context);
  }
  auto result = call_on_worker(
      runtime,
      [tool, arguments = call.arguments, context, totals](const std::stop_token& stop) mutable {
        context.stop = stop;
        context.context.stop = stop;
        context.context.observer = until(stop, context.context.observer);
        (void)totals;  // only kept alive
        return tool.call(arguments, context);
      },
      context.deadline, chat.stop);
  if (!result && result.error().code == ErrorCode::deadline_exceeded && limit < chat.deadline) {
    return fail(ErrorCode::tool_failed,
                fmt::format("{} did not answer within {:g} s", call.name,
                            std::chrono::duration<double>(tool.timeout()).count()));
  }
  return result;
}

ToolEffect run_counted(Session& session, const Tool& tool, const ToolCall& call,
                       const CallContext& chat) {
  const auto totals = std::make_shared<CallTotals>();  // the tool may outlive the session
  ToolContext context{
      .agent = chat.agent, .call_id = call.id, .session = session.id(), .context = chat};
  context.context.effects = nullptr;
  context.context.totals = totals.get();
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
// what they used is recorded with the text, so that a replay charges it and calls nobody.
Result<std::string> Conversation::run_tool(Turn& turn, const ToolCall& call) {
  const Tool* tool = tool_for(turn, call.name);
  if (tool == nullptr) {
    return fail(ErrorCode::tool_failed, fmt::format("Function {} not found.", call.name));
  }
  auto& repeatable = repetition_.repeatable_tools;
  if (tool->repeatable() &&
      std::find(repeatable.begin(), repeatable.end(), call.name) == repeatable.end()) {
    repeatable.push_back(call.name);
  }
  const bool interrupted = session_.effects().next_was_interrupted() && !tool->idempotent();
  const InterruptedTools choice = session_.options().interrupted_tools;
  if (interrupted && choice == InterruptedTools::stop) return fail(interrupted_tool(call));
  notify([&] { return ToolStarted{turn.name(), call.name, call.arguments, call.id}; });
  const Instant began = session_.runtime().clock().now();
  bool performed = false;
  const auto run = [&]() -> ToolEffect {
    performed = true;
    if (interrupted && choice == InterruptedTools::tell_model) {
      return {.text = fail(ErrorCode::tool_failed,
                           fmt::format("{} was interrupted. It is not known whether it did its "
                                       "work.",
                                       call.name))};
    }
    return run_counted(session_, *tool, call, context(turn.name(), Purpose::other));
  };
  auto effect = session_.effects().effect<ToolEffect>(
      EffectKind::tool_result, call.name, [&] { return call.id + ' ' + call.arguments; }, run,
      encode_tool_effect, decode_tool_effect);
  if (effect) {
    session_.totals().add(effect->spent);
    if (!performed && base_.budget) base_.budget->charge(effect->spent.usage.total());
  }
  Result<std::string> result =
      effect ? std::move(effect->text) : Result<std::string>(fail(std::move(effect).error()));
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

// What the model is told about a call. A failure is an answer like any other, so that the model can
// correct its arguments or go another way; only what no model can mend ends the chat.
tl::expected<std::string, Stop> Conversation::tool_answer(Turn& turn, const ToolCall& call) {
  auto result = run_tool(turn, call);
  if (!result && ends_the_chat(result.error().code)) {
    return tl::unexpected<Stop>(
        stop_from(std::move(result).error(), turn.name(), StopReason::tool_error));
  }
  if (Stop stop = external_stop(turn.name())) return tl::unexpected<Stop>(std::move(stop));
  return result ? std::move(*result) : "Error: " + result.error().message;
}

Reply Conversation::function_call_reply(Turn& turn) {
  const auto& call = turn.last().function_call;
  if (!call) return Reply::pass();
  auto answer =
      tool_answer(turn, ToolCall{.id = {}, .name = call->name, .arguments = call->arguments});
  if (!answer) return Reply::none(std::move(answer).error());
  return Reply::say(
      Message{.role = Role::function, .content = std::move(*answer), .name = call->name},
      MessageKind::tool_result);
}

// One message answers all calls of the last one, in their order, one after the other: a later call
// may rely on what an earlier one did.
Reply Conversation::tool_calls_reply(Turn& turn) {
  if (turn.last().tool_calls.empty()) return Reply::pass();
  const std::vector<ToolCall> calls = turn.last().tool_calls;
  Message reply{.role = Role::tool};
  std::string joined;
  for (const ToolCall& call : calls) {
    auto answer = tool_answer(turn, call);
    if (!answer) return Reply::none(std::move(answer).error());
    if (!reply.tool_responses.empty()) joined += "\n\n";
    joined += *answer;
    reply.tool_responses.push_back({.tool_call_id = call.id, .content = std::move(*answer)});
  }
  reply.content = std::move(joined);
  return Reply::say(std::move(reply), MessageKind::tool_result);
}

}  // namespace moderato
