#include <moderato/agents/conversation.hpp>

namespace moderato {

// The stop token and the deadline come from outside, so a recorded run keeps where they were seen,
// and its replay stops at the same place whatever the clock says.
Stop Conversation::external_stop(const std::string& agent) {
  EffectLog& effects = session_.effects();
  std::optional<std::string> reason = effects.replayed_stop();
  if (!reason && !effects.replaying()) {
    if (base_.stop.stop_requested()) {
      reason = "cancelled";
    } else if (session_.runtime().clock().now() >= base_.deadline) {
      reason = "deadline";
    }
    if (reason) {
      if (auto recorded = effects.record_stop(*reason); !recorded) {
        return stop_from(std::move(recorded).error(), agent);
      }
    }
  }
  if (!reason) return {};
  if (*reason == "deadline") {
    return {
        .reason = StopReason::deadline, .agent = agent, .detail = "the chat's deadline has passed"};
  }
  return {.reason = StopReason::cancelled, .agent = agent, .detail = "a stop was requested"};
}

// A condition is asked after a message and before a call; repetition only shows in what was said.
// The time that a condition sees is that of the last effect: the same in a replay, which takes no
// time.
Stop Conversation::check(const std::string& agent, bool before_model_call) {
  if (Stop stop = external_stop(agent)) return stop;
  const CallTotals::Snapshot so_far = used();
  const Duration elapsed = session_.effects().session_time() - session_began_;
  const ConversationView view{.transcript = transcript_,
                              .turns = completed_turns(),
                              .calls = so_far.calls,
                              .usage = so_far.usage,
                              .elapsed = elapsed,
                              .stop_requested = base_.stop.stop_requested(),
                              .before_model_call = before_model_call,
                              .budget = base_.budget.get(),
                              .now = started_ + elapsed};
  if (auto fired = options_.termination.check(view)) return std::move(*fired);
  if (before_model_call) return {};
  const auto found = find_repetition(transcript_, repetition_);
  if (!found) return {};
  if (const auto suspected = suspicion(*found, repetition_)) {
    notify([&] { return *suspected; });
  }
  return repetition_stop(*found, repetition_).value_or(Stop{});
}

}  // namespace moderato
