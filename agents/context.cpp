#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <optional>

#include <moderato/agents/conversation.hpp>
#include <moderato/agents/transforms/apply.hpp>
#include <moderato/agents/transforms/tool_exchange.hpp>

// What an agent is shown of its conversation: its transforms, and what its model's context window
// holds. Neither touches what is stored.

namespace moderato {
namespace {

constexpr int max_window_attempts = 4;
constexpr std::int64_t no_bound = std::numeric_limits<std::int64_t>::max();

bool is_fixed(const MessagePtr& message) {
  return (*message)->role == Role::system || (*message)->role == Role::developer;
}

// The newest messages whose prompt stays within `room` rough tokens, after the system message;
// nullopt: all of them. The last exchange always stays: without it there is nothing to answer.
std::optional<MessageList> newest_within(const Model& model, const ModelRequest& request,
                                         std::int64_t room) {
  if (room == no_bound) return std::nullopt;
  const MessageList& all = request.messages;
  std::int64_t size = model.rough_prompt_tokens(request);
  const std::size_t begin = !all.empty() && is_fixed(all.front()) ? 1 : 0;
  const std::size_t last = exchange_begin(all, all.size() - 1);
  std::size_t first = begin;
  while (first < last && size > room) {
    size -= model.rough_prompt_tokens(ModelRequest{.messages = {all[first]}});
    ++first;
  }
  if (first == begin) return std::nullopt;
  while (first < last && answers_calls(**all[first])) ++first;
  MessageList shown(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(begin));
  shown.insert(shown.end(), all.begin() + static_cast<std::ptrdiff_t>(first), all.end());
  return shown;
}

}  // namespace

Stop Conversation::apply_transforms(const Turn& turn, MessageList& changed) {
  const auto& transforms = turn.self.agent.options().transforms;
  if (transforms.empty()) return {};
  if (changed.empty()) changed.assign(turn.messages.begin(), turn.messages.end());
  const CallContext call = context(turn.name(), Purpose::other);
  auto result = guarded("transform", turn.name(), [&] {
    return moderato::apply_transforms(
        transforms, std::move(changed), {.session = session_, .agent = turn.name(), .call = call},
        [&](ContextTrimmed event) { notify([&] { return std::move(event); }); });
  });
  if (!result) return std::move(result).error();
  if (!*result) {
    const bool broken = result->error().code == ErrorCode::internal;
    return stop_from(std::move(*result).error(), turn.name(),
                     broken ? StopReason::callback_error : StopReason::model_error);
  }
  changed = std::move(**result);
  return {};
}

// How much a prompt takes is known for certain only to the provider. So the first guess comes from
// the model's window and a rough rule, and a refusal is believed: the prompt is made smaller by a
// quarter and sent again, a bounded number of times. What was too much once is not tried again in
// this session. A refused prompt costs nothing but a request.
//
// The rule must be rough: an estimate that learns from other conversations would give a replay
// another prompt than the run had.
Result<ModelReply> Conversation::complete_within_window(PartyState& self, ModelRequest& request,
                                                        const CallContext& call) {
  const Model& model = self.agent.model();
  std::int64_t room = self.prompt_room.value_or(no_bound);
  if (const auto window = model.context_window()) {
    room = std::min(room, std::max<std::int64_t>(0, *window - model.output_cap(request)));
  }
  std::optional<MessageList> all;  // what was there before anything was left out
  leave_out(self, request, room, all);
  auto answer = model.complete(request, call);
  for (int attempt = 1;
       attempt < max_window_attempts && !answer &&
       answer.error().code == ErrorCode::context_overflow && newest_within(model, request, 0);
       ++attempt) {
    self.prompt_room = model.rough_prompt_tokens(request) / 4 * 3;
    leave_out(self, request, *self.prompt_room, all);
    answer = model.complete(request, call);
  }
  if (all) request.messages = std::move(*all);
  return answer;
}

void Conversation::leave_out(const PartyState& self, ModelRequest& request, std::int64_t room,
                             std::optional<MessageList>& all) {
  auto shown = newest_within(self.agent.model(), request, room);
  if (!shown) return;
  auto event = trimmed_between(request.messages, *shown);
  event->agent = self.agent.name();
  event->by = "context window";
  notify([&] { return *event; });
  if (!all) all = std::move(request.messages);
  request.messages = std::move(*shown);
}

}  // namespace moderato
