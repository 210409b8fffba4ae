#include <moderato/core/event.hpp>

#include <array>

namespace moderato {
namespace {

// In the order of EventData.
constexpr std::array<std::string_view, std::variant_size_v<EventData>> names{
    "chat_started",    "message_added",   "token_delta",    "call_queued",    "call_admitted",
    "call_sent",       "call_finished",   "call_rejected",  "call_retried",   "tool_started",
    "tool_finished",   "human_asked",     "human_answered", "budget_changed", "loop_suspected",
    "limiter_changed", "context_trimmed", "warning",        "tool_progress",  "stopped"};

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

/// Adds the members of each event.
struct Members {
  Json& json;

  void operator()(const ChatStarted& e) const {
    json["initiator"] = e.initiator;
    json["recipient"] = e.recipient;
  }
  void operator()(const MessageAdded& e) const { json["entry"] = to_json(e.entry); }
  void operator()(const TokenDelta& e) const {
    json["agent"] = e.agent;
    json["text"] = e.text;
  }
  void operator()(const CallQueued& e) const {
    json["agent"] = e.agent;
    json["model"] = e.model;
    json["reason"] = e.reason;
    json["expected_wait"] = seconds(e.expected_wait);
    json["position"] = e.position;
  }
  void operator()(const CallAdmitted& e) const {
    json["agent"] = e.agent;
    json["model"] = e.model;
    json["waited"] = seconds(e.waited);
  }
  void operator()(const CallSent& e) const {
    json["agent"] = e.agent;
    json["model"] = e.model;
    json["attempt"] = e.attempt;
  }
  void operator()(const CallFinished& e) const { json["call"] = to_json(e.record); }
  void operator()(const CallRejected& e) const {
    json["call"] = to_json(e.record);
    json["error"] = to_string(e.error);
  }
  void operator()(const CallRetried& e) const {
    json["agent"] = e.agent;
    json["model"] = e.model;
    json["next_attempt"] = e.next_attempt;
    json["delay"] = seconds(e.delay);
    json["why"] = e.why;
  }
  void operator()(const ToolStarted& e) const {
    json["agent"] = e.agent;
    json["tool"] = e.tool;
    json["call_id"] = e.call_id;
    json["arguments"] = e.arguments;
  }
  void operator()(const ToolProgress& e) const {
    json["agent"] = e.agent;
    json["tool"] = e.tool;
    json["call_id"] = e.call_id;
    json["text"] = e.text;
  }
  void operator()(const ToolFinished& e) const {
    json["agent"] = e.agent;
    json["tool"] = e.tool;
    json["call_id"] = e.call_id;
    json["ok"] = e.ok;
    json["took"] = seconds(e.took);
    json["result"] = e.result;
  }
  void operator()(const HumanAsked& e) const {
    json["agent"] = e.agent;
    json["prompt"] = e.prompt;
  }
  void operator()(const HumanAnswered& e) const {
    json["agent"] = e.agent;
    json["input"] = e.input;
  }
  void operator()(const BudgetChanged& e) const {
    json["spent"] = e.spent;
    json["reserved"] = e.reserved;
    json["total"] = e.total;
  }
  void operator()(const LoopSuspected& e) const {
    json["agent"] = e.agent;
    json["pattern"] = e.pattern;
    json["repeats"] = e.repeats;
    json["evidence"] = e.evidence;
  }
  void operator()(const LimiterChanged& e) const {
    json["key"] = e.key;
    json["state"] = e.state;
    json["lasting"] = seconds(e.lasting);
    json["why"] = e.why;
  }
  void operator()(const ContextTrimmed& e) const {
    json["agent"] = e.agent;
    json["by"] = e.by;
    json["messages_left_out"] = e.messages_left_out;
    json["bytes_left_out"] = e.bytes_left_out;
    json["messages_shown"] = e.messages_shown;
  }
  void operator()(const Warning& e) const { json["text"] = e.text; }
  void operator()(const Stopped& e) const {
    json["reason"] = std::string(to_string(e.stop.reason));
    json["stop"] = to_string(e.stop);
    json["calls"] = e.calls;
    json["tokens"] = e.usage.total();
  }
};

}  // namespace

std::string_view name_of(const Event& event) noexcept {
  return names[event.data.index()];
}

Json to_json(const Event& event) {
  Json json{{"at", seconds(event.at.time_since_epoch())},
            {"session", event.session},
            {"event", std::string(name_of(event))}};
  std::visit(Members{json}, event.data);
  return json;
}

}  // namespace moderato
