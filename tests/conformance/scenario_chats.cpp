// Chats of a scenario: one, a queue of them, nested ones, resumed groups.
#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>

#include "cast.hpp"
#include "scenario_run.hpp"

namespace moderato::conformance {
namespace {

constexpr RepetitionOptions no_repetition{.report_after = 0, .stop_after = 0};

bool ends_a_run(StopReason reason) {
  switch (reason) {
    case StopReason::termination_message:
    case StopReason::max_consecutive_auto_reply:
    case StopReason::human_exit:
    case StopReason::human_skip_on_termination:
    case StopReason::no_reply:
      return true;
    default:
      return false;
  }
}

// AutoGen leaves in the caller's queue what a chat was given. Ours is not written to; what it was
// given is its own carryover and the summaries before it.
std::vector<std::string> carryover_given(const QueuedChat& chat,
                                         const std::vector<ChatResult>& results,
                                         std::size_t index) {
  std::vector<std::string> given = chat.options.carryover.texts();
  const auto& excluded = chat.finished_chat_indexes_to_exclude_from_carryover;
  for (std::size_t i = 0; i < index; ++i) {
    if (std::find(excluded.begin(), excluded.end(), i) == excluded.end()) {
      given.push_back(results[i].summary);
    }
  }
  return given;
}

std::string reason_name(StopReason reason) {
  if (reason == StopReason::termination_message) return "termination_msg";
  return std::string(to_string(reason));
}

}  // namespace

const GroupChatManager* Scenario::manager(const std::string& name) const {
  const auto found = managers_.find(name);
  return found != managers_.end() ? &found->second : nullptr;
}

// Why the chat ended, as the recordings derive it: where the turns are counted only the initiator's
// silence is a reason. (If the recipient is silent before the last turn AutoGen goes on; here it
// ends.)
Value Scenario::recorded_end(const ChatResult& result, const std::string& sender,
                             const std::string& recipient) {
  const Stop& stop = result.stop;
  const auto& max_turns = max_turns_[open_chats_.back()];
  if (manager(recipient) != nullptr && ends_a_run(stop.reason) && stop.agent != recipient &&
      !(max_turns && stop.agent == sender)) {
    return {{"reason", "speaker_no_reply"},
            {"agent", recipient},
            {"speaker", stop.agent},
            {"speaker_reason", reason_name(stop.reason)}};
  }
  if (max_turns && stop.agent == recipient && manager(recipient) == nullptr) {
    const auto said =
        std::count_if(result.transcript.begin(), result.transcript.end(),
                      [&](const TranscriptEntry& entry) { return entry.speaker == sender; });
    if (said == *max_turns) return {{"reason", "max_turns"}, {"agent", sender}};
    fixed_.push_back("one-sided-turns");
  }
  Value end{{"reason", reason_name(stop.reason)}};
  if (stop.rule.starts_with("max_round(")) end["reason"] = "max_round";
  if (stop.rule == "no next speaker") end["reason"] = "no_next_speaker";
  if (stop.reason != StopReason::no_initial_message) end["agent"] = stop.agent;
  return end;
}

ChatOptions Scenario::chat_options(const Value& action) const {
  ChatOptions options{.summary_method = summary_method(action),
                      .carryover = carryover(action),
                      .silent = action.value("silent", false),
                      .clear_history = action.value("clear_history", true),
                      .repetition = no_repetition};
  if (action.contains("max_turns") && !action["max_turns"].is_null()) {
    options.max_turns = action["max_turns"].get<std::int64_t>();
  }
  if (action.contains("cache")) options.cache = recorder_->cache(action["cache"]);
  return options;
}

void Scenario::chat_began(const ChatStarted& event) {
  open_chats_.push_back(chats_.size());
  max_turns_.resize(chats_.size() + 1);
  chats_.push_back({{"sender", event.initiator},
                    {"recipient", event.recipient},
                    {"end", {{"reason", "exception"}}}});
  if (!recorder_->async) recorder_->trace.push_back({"chat", event.initiator, event.recipient});
}

void Scenario::check_summary(const ChatResult& result) const {
  // A reflection that the provider refuses (400) is an empty summary in AutoGen; ours says why as
  // well.
  if (!result.summary_error || result.summary_error->http_status == 400) return;
  if (result.summary_error->code == ErrorCode::invalid_request && !recorder_->model_script_ended) {
    throw Raised{"raised", "no_conversation"};
  }
  throw raised(*result.summary_error);
}

// What a chat came to, unless it failed (then its end stays "exception").
void Scenario::chat_ended(const ChatResult& result) {
  const std::size_t index = open_chats_.back();
  if (result.stop.error || result.stop.reason == StopReason::cancelled ||
      (result.summary_error && result.summary_error->http_status != 400)) {
    open_chats_.pop_back();
    return;
  }
  Value& chat = chats_[index];
  chat["end"] = recorded_end(result, chat["sender"], chat["recipient"]);
  chat["summary"] = result.summary;
  chat["human_input"] = result.human_inputs;
  chat["chat_history"] = Value::array();
  for (const MessagePtr& message : result.chat_history) {
    chat["chat_history"].push_back(as_value(**message));
  }
  Value end{"end", chat["end"]["reason"]};
  if (chat["end"].contains("agent")) end.push_back(chat["end"]["agent"]);
  if (!recorder_->async) recorder_->trace.push_back(std::move(end));
  open_chats_.pop_back();
}

Value Scenario::initiate_chat(const Value& action) {
  recorder_->async = action.at("do") == "a_initiate_chat";
  const ConversableAgent& sender = agent(action.at("sender"));
  const ConversableAgent& recipient = agent(action.at("recipient"));
  ChatOptions options;
  try {
    options = chat_options(action);
  } catch (const Raised&) {  // AutoGen looks at them when the chat has begun
    chat_began({sender.name(), recipient.name()});
    throw;
  }
  options.session = session_.get();
  max_turns_.resize(chats_.size() + 1);
  max_turns_.back() = options.max_turns;
  const ChatResult result = sender.initiate_chat(recipient, chat_message(action), options);
  if (result.stop.reason == StopReason::cancelled) throw Raised{"interrupt"};
  if (result.stop.error) throw raised(*result.stop.error);
  check_summary(result);
  chat_ended(result);
  if (!recorder_->async) return Value::object();
  Value shown{{"summary", result.summary}, {"human_input", result.human_inputs}};
  shown["chat_history"] = chats_.back()["chat_history"];
  chats_ = Value::array();
  return shown;
}

std::vector<QueuedChat> Scenario::queued_chats(const Value& queue, bool nested) const {
  std::vector<QueuedChat> chats;
  for (const Value& entry : queue) {
    QueuedChat chat{
        .recipient = agent(entry.at("recipient")),
        .options = chat_options(entry),
        .clear_history = entry.value("clear_history", true),
        .finished_chat_indexes_to_exclude_from_carryover = entry.value(
            "finished_chat_indexes_to_exclude_from_carryover", std::vector<std::size_t>{})};
    if (entry.contains("sender")) chat.sender = agent(entry["sender"]);
    const Value message = entry.value("message", Value());
    const std::string kind =
        nested && message.is_object() && message.contains("fn") ? message["fn"] : Value("");
    if (kind == "prefix_last" || kind == "count" || kind == "empty") {
      chat.nested_message = [=](const ReplyRequest& outer) -> std::optional<Message> {
        if (kind == "empty") return Message::user("");
        const std::string prefix = message.at("prefix");
        if (kind == "count") return Message::user(prefix + std::to_string(outer.messages.size()));
        return Message::user(prefix + (*outer.messages.back())->text());
      };
    } else if (!message.is_null()) {
      chat.message = chat_message(entry);
    }
    chats.push_back(std::move(chat));
  }
  return chats;
}

Value Scenario::initiate_chats(const Value& action) {
  const std::vector<QueuedChat> queue = queued_chats(action.at("queue"), false);
  ChatQueueOptions options{
      .session = session_.get(),
      .on_chat_end = [this](const QueuedChat& queued, const ChatResult& result) {
        max_turns_[open_chats_.back()] = queued.options.max_turns;
        chat_ended(result);
      }};
  if (action.contains("sender")) options.sender = agent(action["sender"]);
  Value shown;
  for (int time = 0; time < action.value("times", 1); ++time) {
    ChatQueueResult result;
    try {
      result = moderato::initiate_chats(queue, options);
    } catch (const std::invalid_argument&) {
      throw Raised{"raised", "invalid_argument"};
    }
    if (result.stop.reason == StopReason::cancelled) throw Raised{"interrupt"};
    if (result.stop.error) throw raised(*result.stop.error);
    shown = {{"summaries", Value::array()},
             {"history_lengths_after_all", Value::array()},
             {"carryover_left_in_queue", Value::array()}};
    for (std::size_t i = 0; i < result.chats.size(); ++i) {
      check_summary(result.chats[i]);
      shown["summaries"].push_back(result.chats[i].summary);
      shown["history_lengths_after_all"].push_back(result.chats[i].chat_history.size());
      shown["carryover_left_in_queue"].push_back(carryover_given(queue[i], result.chats, i));
    }
  }
  return shown;
}

void Scenario::register_nested_chats(const Value& action) {
  NestedChatsOptions options{
      .position = action.value("position", std::size_t{2}),
      .on_chat_end = [this](const QueuedChat& queued, const ChatResult& result) {
        max_turns_[open_chats_.back()] = queued.options.max_turns;
        chat_ended(result);
      }};
  party(action.at("agent"))
      .register_reply(nested_chats(queued_chats(action.at("queue"), true),
                                   trigger(action.at("trigger")), std::move(options)));
}

Value Scenario::save_group(const Value& action) {
  Value messages = Value::array();
  const std::string name = action.at("manager");
  for (const MessagePtr& message : manager(name)->messages(*session_)) {
    messages.push_back(as_value(**message));
  }
  saved_groups_[name] = std::move(messages);
  return Value::object();
}

Value Scenario::resume(const Value& action) {
  const std::string name = action.at("manager");
  const Value& given = action.at("messages");
  std::vector<Message> messages;
  for (const Value& message : given == "@saved" ? saved_groups_[name] : given) {
    messages.push_back(message_from(message));
  }
  const GroupChatManager& leader = *manager(name);
  const auto in_group = [&](const Message& message) {
    return std::any_of(leader.group_chat().agents.begin(), leader.group_chat().agents.end(),
                       [&](const auto& member) { return member.name() == message.name; });
  };
  // Everybody who has spoken before the last message sees that as its own.
  if (messages.size() > 1 && std::any_of(messages.begin(), messages.end() - 1, in_group)) {
    fixed_.push_back("resume-own-messages-as-user");
  }
  auto resumed =
      leader.resume(*session_, std::move(messages), action.value("remove_termination_string", ""));
  if (!resumed) throw raised(resumed.error());
  const Value shown{{"last_agent", resumed->last_speaker.name()},
                    {"last_message", as_value(resumed->last_message)}};
  if (!action.value("then_chat", false)) return shown;
  const ChatResult result = resumed->last_speaker.initiate_chat(
      leader, resumed->last_message, {.session = session_.get(), .repetition = no_repetition});
  if (result.stop.error) throw raised(*result.stop.error);
  chat_ended(result);
  return shown;
}

}  // namespace moderato::conformance
