#include <moderato/agents/agent_tool.hpp>

#include <fmt/core.h>

#include <stdexcept>

#include <moderato/agents/chat.hpp>
#include <moderato/agents/conversation.hpp>
#include <moderato/agents/party_state.hpp>
#include <moderato/agents/prompt.hpp>

namespace moderato {
namespace {

// Who hands over the task: it runs the tools that the agent calls, and says nothing of its own, so
// the talk ends when the agent has given an answer.
ConversableAgent task_giver(const std::string& name, std::int64_t rounds) {
  return ConversableAgent({.name = name,
                           .system_message = {},
                           .description = "hands over a task",
                           .human_input_mode = HumanInputMode::never,
                           .max_consecutive_auto_reply = rounds,
                           .is_termination_msg = no_tool_calls(),
                           .default_auto_reply = std::nullopt});
}

bool has_answered(const Stop& stop) {
  return stop.reason == StopReason::termination_message || stop.reason == StopReason::no_reply ||
         stop.reason == StopReason::human_exit;
}

Result<std::string> run_task(const ConversableAgent& agent, const AgentToolOptions& options,
                             const std::string& task, const ToolContext& context) {
  if (context.conversation == nullptr) {
    return fail(ErrorCode::tool_failed,
                fmt::format("{} works only within a conversation", agent.name()));
  }
  Conversation& outer = *context.conversation;
  ChatOptions inner{.token_budget = options.token_budget};
  inner.deadline = context.deadline;
  inner.stop = context.stop;
  inner.silent = outer.options().silent;
  inner.clear_history = true;
  inner.stream = outer.options().stream;
  inner.repetition = outer.options().repetition;
  // The giver of one task: kept, it would be a second agent of that name, and one more a task.
  const ConversableAgent giver = task_giver(context.agent, options.max_tool_rounds);
  ChatResult chat = run_chat(outer.session(), giver, agent, Message::user(task), inner, &outer);
  outer.session().part<Parties>().forget(giver);
  if (has_answered(chat.stop)) return std::move(chat.summary);
  Error error = chat.stop.error.value_or(Error{});
  const bool for_all =
      chat.stop.reason == StopReason::cancelled || chat.stop.reason == StopReason::deadline ||
      chat.stop.reason == StopReason::replay_mismatch ||
      chat.stop.reason == StopReason::storage_error ||
      chat.stop.reason == StopReason::awaiting_human || error.code == ErrorCode::interrupted ||
      error.code == ErrorCode::human_unavailable;
  if (!for_all || !chat.stop.error) {
    // (What a rule of the chat around it has cancelled, that chat will see for itself.)
    const bool cancelled = chat.stop.reason == StopReason::cancelled && chat.stop.rule.empty();
    error.code = cancelled ? ErrorCode::cancelled : ErrorCode::tool_failed;
    error.message =
        fmt::format("{} did not finish the task: {}", agent.name(), to_string(chat.stop));
  }
  return fail(std::move(error));
}

}  // namespace

Tool agent_tool(const ConversableAgent& agent, AgentToolOptions options) {
  if (options.token_budget.value_or(0) < 0 || options.max_tool_rounds < 0) {
    throw std::invalid_argument(
        "agent_tool: token_budget and max_tool_rounds must not be negative");
  }
  ToolDefinition definition;
  definition.name = options.name.empty() ? normalized_name(agent.name()) : options.name;
  definition.description = options.description.empty() ? agent.description() : options.description;
  definition.parameters = {
      {"type", "object"},
      {"properties",
       {{"task",
         {{"type", "string"}, {"description", "What to do, with all that is needed to do it"}}}}},
      {"required", {"task"}}};
  ToolOptions how;
  how.acts_in_session = true;
  return Tool(RawTool{.definition = std::move(definition),
                      .function =
                          [agent, options](const Json& arguments, const ToolContext& context) {
                            return run_task(agent, options, arguments.at("task").get<std::string>(),
                                            context);
                          },
                      .options = how,
                      .unknown_arguments = UnknownProperties::wrong});
}

}  // namespace moderato
