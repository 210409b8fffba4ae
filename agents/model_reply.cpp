#include <fmt/core.h>

#include <algorithm>

#include <moderato/agents/conversation.hpp>
#include <moderato/agents/prompt.hpp>

namespace moderato {
namespace {

// What the agent is told when the budget is used up.
constexpr const char* closing_words =
    "The token budget of this conversation is used up. This is your last answer: give your best "
    "final "
    "result now, as briefly as you can.";

// A template filled from the newest message's context changes older texts for this one request
// only.
bool needs_own_prompt(const Turn& turn) {
  return !turn.is_history ||
         (turn.self.agent.options().allow_format_str_template && !turn.last().context.is_null());
}

// A model's answer as a message; nullopt if it said nothing at all.
std::optional<Message> spoken(Message message) {
  for (ToolCall& call : message.tool_calls) call.name = normalized_name(call.name);
  if (message.function_call) {
    message.function_call->name = normalized_name(message.function_call->name);
  }
  if (message.content.is_null() && !message.has_calls()) {
    if (message.refusal.empty()) return std::nullopt;
    message.content = std::move(message.refusal);
  }
  message.name.clear();
  return message;
}

// As many of the newest messages as fit into `room` tokens beside the request's own settings,
// without answers to calls that were left out. Each is weighed alone, which counts the fixed cost
// of a request each time: never too little.
MessageList newest_that_fit(const Model& model, const ModelRequest& bare, const MessageList& prompt,
                            std::int64_t room) {
  const auto weight = [&](const MessagePtr& message) {
    return model.prompt_upper_bound(ModelRequest{.messages = {message}});
  };
  const MessagePtr closing = store(Message::system(closing_words));
  room -= model.prompt_upper_bound(bare) + weight(prompt.front()) + weight(closing);
  auto first = prompt.end();
  while (first != prompt.begin() + 1) {
    room -= weight(*(first - 1));
    if (room < 0) break;
    --first;
  }
  const auto answers_call = [](const MessagePtr& message) {
    return (*message)->role == Role::tool || (*message)->role == Role::function;
  };
  first = std::find_if_not(first, prompt.end(), answers_call);
  MessageList fitting{prompt.front()};
  fitting.insert(fitting.end(), first, prompt.end());
  fitting.push_back(closing);
  return fitting;
}

}  // namespace

// The prompt is kept with the dialogue and lent to the request: a turn appends what was said since,
// and neither copies nor serialises nor weighs the history again.
Reply Conversation::model_reply(Turn& turn) {
  const ConversableAgent& agent = turn.self.agent;
  if (!agent.model()) return Reply::pass();
  if (Stop stop = check(agent.name(), true)) return Reply::none(std::move(stop));

  ModelRequest request{.tools = AgentDefinition::of(agent).offered,
                       .sampling = agent.options().sampling,
                       .stream = options_.stream && !options_.silent};
  const bool own_prompt = needs_own_prompt(turn);
  if (own_prompt) {
    request.messages =
        make_prompt(turn.self.system, turn.messages, agent.options().allow_format_str_template);
  } else {
    update_prompt(turn.self, turn.dialogue);
    request.messages = std::move(turn.dialogue.prompt);
    request.memory = &turn.dialogue.memory;
  }
  auto answer = complete_within_window(turn.self, request, context(agent.name(), Purpose::reply));
  Reply reply = reply_of(turn, request.messages, std::move(answer));
  if (!own_prompt) turn.dialogue.prompt = std::move(request.messages);
  return reply;
}

Reply Conversation::reply_of(Turn& turn, const MessageList& prompt, Result<ModelReply>&& answer) {
  if (!answer) {
    if (answer.error().code == ErrorCode::budget_exhausted) {
      if (Reply closing = closing_reply(turn, prompt, answer.error()); closing.final) {
        return closing;
      }
    }
    return Reply::none(stop_from(std::move(answer).error(), turn.name()));
  }
  auto message = spoken(std::move(answer->message));
  return message ? Reply::say(std::move(*message)) : Reply::pass();
}

// The call that did not fit is followed by one that was paid for at the start: without tools, with
// an output cap, and with as much of the conversation as the reserve holds.
Reply Conversation::closing_reply(Turn& turn, const MessageList& prompt, const Error& why) {
  if (options_.on_budget != OnBudget::final_answer || closing_call_made_) return Reply::pass();
  closing_call_made_ = true;
  const ConversableAgent& agent = turn.self.agent;
  const std::int64_t room = base_.budget->left_for_final_answer();

  ModelRequest request{.sampling = agent.options().sampling,
                       .stream = options_.stream && !options_.silent};
  request.sampling.tool_choice.clear();
  request.messages = newest_that_fit(agent.model(), request, prompt, room - room / 4);
  CallContext call = context(agent.name(), Purpose::final_answer);
  call.final_answer = true;
  auto answer = agent.model().complete(request, call);
  if (!answer) return Reply::none(stop_from(std::move(answer).error(), agent.name()));

  Stop stop = stop_from(why, agent.name());
  stop.detail += "; the final answer was given";
  answer->message.tool_calls.clear();
  answer->message.function_call.reset();
  auto message = spoken(std::move(answer->message));
  if (!message) return Reply::none(std::move(stop));
  Reply reply = Reply::say(std::move(*message));
  reply.stop = std::move(stop);
  return reply;
}

}  // namespace moderato
