#include <moderato/agents/child_session.hpp>
#include <moderato/agents/conversation.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/wait.hpp>

namespace moderato {
namespace {

// A condition that looked outside is recorded like a stop, with what it said.
constexpr std::string_view condition_prefix = "condition ";

std::string recorded_condition(const Stop& stop) {
  return std::string(condition_prefix) + dump_json(Json{{"reason", to_string(stop.reason)},
                                                        {"agent", stop.agent},
                                                        {"rule", stop.rule},
                                                        {"detail", stop.detail}});
}

Stop condition_from(std::string_view recorded, const std::string& agent) {
  const auto json = parse_json(recorded.substr(condition_prefix.size()), "a recorded stop");
  if (!json) return stop_from(json.error(), agent);
  const auto text = [&](const char* name) { return json->value(name, std::string()); };
  return {.reason = stop_reason_from_string(text("reason")).value_or(StopReason::condition),
          .agent = text("agent"),
          .rule = text("rule"),
          .detail = text("detail")};
}

}  // namespace

// The stop token, the task's cancellation and the deadline come from outside, so a recorded run
// keeps where they were seen, and its replay stops at the same place whatever the clock says.
Stop Conversation::external_stop(const std::string& agent) {
  EffectLog& effects = session_.effects();
  std::optional<std::string> reason = effects.replayed_stop();
  if (!reason && !effects.replaying()) {
    if (base_.stop.stop_requested() || fiber_cancelled()) {
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
  if (!reason && fiber_cancelled()) reason = "cancelled";  // a replay must end, too
  if (!reason) return {};
  if (reason->starts_with(condition_prefix)) return condition_from(*reason, agent);
  if (*reason == "deadline") {
    return {
        .reason = StopReason::deadline, .agent = agent, .detail = "the chat's deadline has passed"};
  }
  return {.reason = StopReason::cancelled, .agent = agent, .detail = "a stop was requested"};
}

// The time that a condition sees is that of the last effect: the same in a replay, which takes no
// time. A child session's time begins with the child.
Duration Conversation::elapsed() const {
  return session_.effects().session_time() - session_began_;
}

ConversationView Conversation::view(bool before_model_call, bool& outside_seen) {
  const CallTotals::Snapshot so_far = used();
  return {.transcript = transcript_,
          .turns = completed_turns(),
          .calls = so_far.calls,
          .usage = so_far.usage,
          .elapsed = elapsed(),
          .stop_requested = false,  // external_stop would have said so
          .replaying = session_.effects().replaying(),
          .outside_seen = &outside_seen,
          .before_model_call = before_model_call,
          .budget = base_.budget.get(),
          .now = started_ + elapsed()};
}

Stop Conversation::recorded(Stop stop, const std::string& agent) {
  auto kept = session_.effects().record_stop(recorded_condition(stop));
  return kept ? stop : stop_from(std::move(kept).error(), agent);
}

// A condition is asked after a message and before a call; repetition only shows in what was said.
Stop Conversation::check(const std::string& agent, bool before_model_call) {
  if (Stop stop = external_stop(agent)) return stop;
  bool outside_seen = false;
  if (auto fired = options_.termination.check(view(before_model_call, outside_seen))) {
    return outside_seen ? recorded(std::move(*fired), agent) : std::move(*fired);
  }
  if (before_model_call) return check_chats_around(agent);
  const auto found = find_repetition(transcript_, repetition_);
  if (!found) return {};
  if (const auto suspected = suspicion(*found, repetition_)) {
    notify([&] { return *suspected; });
  }
  return repetition_stop(*found, repetition_).value_or(Stop{});
}

// A chat that runs inside others must not call models on where one of those would have ended: its
// nested chats, its graphs and its tools would be a way around max_calls. What else runs inside the
// same chat at that moment is seen, too, so what is found is not the same in a replay: it is
// recorded where it was found.
Stop Conversation::check_chats_around(const std::string& agent) {
  if (session_.effects().replaying()) return {};
  Session* session = &session_;
  Duration at = session->effects().session_time();
  for (Conversation* around = parent_; around != nullptr; around = around->parent_) {
    if (&around->session_ != session) at += session->part<BeganInParent>().at;
    session = &around->session_;
    bool outside_seen = false;
    ConversationView seen = around->view(true, outside_seen);
    seen.elapsed = at - around->session_began_;
    seen.now = around->started_ + seen.elapsed;
    seen.inside = true;
    seen.replaying = false;
    if (auto fired = around->options_.termination.check(seen)) {
      return recorded(std::move(*fired), agent);
    }
  }
  return {};
}

}  // namespace moderato
