#include "scenario.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>

#include "cast.hpp"
#include "groups.hpp"
#include "scenario_run.hpp"

namespace moderato::conformance {
namespace {

constexpr const char* autogen_summary_prompt =
    "Summarize the takeaway from the conversation. Do not add any introductory phrases.";

Value as_reply(const std::optional<Message>& reply) {
  if (!reply) return nullptr;
  const bool only_text = reply->role == Role::assistant && reply->content.is_text() &&
                         !reply->has_calls() && reply->tool_responses.empty();
  if (only_text) return std::string(reply->content.as_text());
  return as_value(*reply);
}

}  // namespace

Scenario::Scenario(const Value& scenario)
    : scenario_(scenario),
      session_(std::make_unique<Session>(
          world_, SessionOptions{.observer = Observer([this](const Event& event) {
                                   const auto* began = std::get_if<ChatStarted>(&event.data);
                                   if (began != nullptr) chat_began(*began);
                                 }),
                                 .stop = interrupt_.get_token()})),
      agents_(make_cast(scenario, world_, recorder_, interrupt_)),
      managers_(make_groups(scenario, agents_, world_, recorder_)) {
  for (const auto& [name, leader] : managers_) agents_.emplace(name, leader);
}

ScenarioRun Scenario::run() {
  Value results = Value::array();
  Value error;
  for (const Value& action : scenario_.at("actions")) {
    try {
      results.push_back(act(action));
    } catch (const Raised& raised) {
      error = {{"action", results.size()}, {"kind", raised.kind}};
      if (!raised.category.empty()) error["category"] = raised.category;
      break;
    }
  }
  Value observed = state();
  observed["results"] = std::move(results);
  if (!error.is_null()) observed["error"] = std::move(error);
  return {.observed = std::move(observed), .fixed = fixed_};
}

Value Scenario::act(const Value& action) {
  const std::string what = action.at("do");
  Value result = Value::object();
  if (what == "initiate_chat" || what == "a_initiate_chat") {
    result = initiate_chat(action);
  } else if (what == "initiate_chats") {
    result = initiate_chats(action);
  } else if (what == "register_nested_chats") {
    register_nested_chats(action);
  } else if (what == "save_group") {
    result = save_group(action);
  } else if (what == "resume") {
    result = resume(action);
  } else if (what == "send") {
    send(action);
  } else if (what == "generate_reply") {
    result = generate_reply(action);
  } else if (what == "execute_function") {
    result = execute_function(action);
  } else if (what == "register_reply") {
    register_reply(action);
  } else if (what == "last_message") {
    result = last_message(action);
  } else if (what == "reset") {
    party(action["agent"]).reset();
  } else if (what == "clear_history") {
    if (action.contains("peer")) {
      party(action["agent"]).clear_history(agent(action["peer"]));
    } else {
      party(action["agent"]).clear_history(action.value("preserve", std::size_t{0}));
    }
  } else if (what == "update_system_message") {
    party(action["agent"]).update_system_message(action.at("text"));
  } else if (what == "update_max_consecutive_auto_reply") {
    if (action.contains("peer")) {
      party(action["agent"])
          .update_max_consecutive_auto_reply(action.at("value"), agent(action["peer"]));
    } else {
      party(action["agent"]).update_max_consecutive_auto_reply(action.at("value"));
    }
  } else if (what != "usage" && what != "usage_summary") {  // usage is not compared
    throw std::runtime_error("unknown action " + what);
  }
  return result;
}

Raised Scenario::raised(const Error& error) const {
  if (recorder_->model_script_ended) return {"model_script_exhausted"};
  if (recorder_->human_script_ended) return {"human_script_exhausted"};
  switch (error.code) {
    case ErrorCode::cancelled:
      return {"interrupt"};
    case ErrorCode::invalid_message:
      return {"raised", "invalid_message"};
    case ErrorCode::timeout:
      return {"raised", "model_timeout"};
    case ErrorCode::internal:
      return {"raised", "invalid_argument"};
    case ErrorCode::invalid_request:
      return {"raised", error.http_status != 0 ? "model_error" : "invalid_argument"};
    default:
      return {"raised", "model_error"};
  }
}

void Scenario::send(const Value& action) {
  std::optional<bool> request_reply;
  if (action.contains("request_reply") && !action["request_reply"].is_null()) {
    request_reply = action["request_reply"].get<bool>();
  }
  const Stop stop = party(action.at("sender"))
                        .send(agent(action.at("recipient")), message_from(action.at("message")),
                              request_reply, {.repetition = {.report_after = 0, .stop_after = 0}});
  if (stop.reason == StopReason::cancelled) throw Raised{"interrupt"};
  if (stop.error) throw raised(*stop.error);
}

Value Scenario::generate_reply(const Value& action) {
  GenerateReplyOptions options;
  for (const Value& message : action.value("messages", Value::array())) {
    options.messages.push_back(message_from(message));
  }
  if (action.contains("sender") && !action["sender"].is_null()) {
    options.sender = &agent(action["sender"]);
  }
  for (const Value& name : action.value("exclude", Value::array())) {
    if (name == "check_termination") options.exclude.push_back(BuiltInReply::check_termination);
    if (name == "model") options.exclude.push_back(BuiltInReply::model);
    if (name == "tool_calls") options.exclude.push_back(BuiltInReply::tool_calls);
  }
  auto reply = party(action.at("agent")).generate_reply(std::move(options));
  if (!reply) throw raised(reply.error());
  return {{"reply", as_reply(*reply)}};
}

// There is no function for this: a call as the only message asks for the same.
Value Scenario::execute_function(const Value& action) {
  const Value& call = action.at("call");
  Message asking = Message::assistant("");
  asking.content = nullptr;
  asking.function_call = FunctionCall{call.at("name"), call.value("arguments", "{}")};
  auto reply = party(action.at("agent"))
                   .generate_reply({.messages = {std::move(asking)},
                                    .exclude = {BuiltInReply::check_termination}});
  if (!reply) throw raised(reply.error());
  return {{"ok", !(*reply)->text().starts_with("Error: ")}, {"reply", as_reply(*reply)}};
}

void Scenario::register_reply(const Value& action) {
  const std::string name = action.at("agent");
  const std::string label = action.value("label", "fn");
  const bool final = action.value("final", true);
  const Value reply = action.value("reply", Value());
  party(action["agent"])
      .register_reply({.reply = [=, recorder = recorder_](const ReplyRequest&) -> Reply {
                         recorder->trace.push_back({"replyfn", name, label});
                         if (!final) return Reply::pass();
                         if (reply.is_null()) return Reply::none();
                         if (reply.is_string()) return Reply::say(reply.get<std::string>());
                         return Reply::say(message_from(reply));
                       },
                       .trigger = trigger(action.at("trigger")),
                       .position = action.value("position", std::size_t{0}),
                       .remove_other_reply_funcs = action.value("remove_others", false)});
}

Value Scenario::last_message(const Value& action) {
  auto last = action.contains("peer") ? party(action["agent"]).last_message(agent(action["peer"]))
                                      : party(action["agent"]).last_message();
  if (!last) {
    throw Raised{"raised", action.contains("peer") ? "no_conversation" : "invalid_argument"};
  }
  return {{"message", *last ? as_value(***last) : Value()}};
}

ChatMessage Scenario::chat_message(const Value& action) const {
  const Value message = action.value("message", Value());
  if (message.is_null()) return ChatMessage::ask_human();
  if (!message.is_object() || !message.contains("fn")) return message_from(message);
  const std::string kind = message["fn"];
  return ChatMessage([=](const OpeningRequest& request) -> std::optional<Message> {
    if (kind == "none") return std::nullopt;
    if (kind == "dict") return message_from({{"content", message.at("content")}});
    const std::string carried = fmt::format("{}", fmt::join(request.carryover.texts(), "|"));
    return Message::user(fmt::format("{}[{}] from {} to {}", message.value("prefix", ""), carried,
                                     request.sender.name(), request.recipient.name()));
  });
}

// What is no text and no message has no place in a Carryover: a program that reads one from a file
// would refuse it at the same point.
Carryover Scenario::carryover(const Value& action) const {
  const Value given = action.value("carryover", Value());
  if (given.is_null()) return {};
  if (given.is_string()) return Carryover(given.get<std::string>());
  if (!given.is_array()) throw Raised{"raised", "invalid_carryover"};
  std::vector<Carryover::Item> items;
  for (const Value& item : given) {
    if (item.is_string()) {
      items.emplace_back(item.get<std::string>());
    } else {
      items.emplace_back(message_from(item));
    }
  }
  return Carryover(std::move(items));
}

SummaryMethod Scenario::summary_method(const Value& action) const {
  const Value method = action.value("summary_method", Value("last_msg"));
  const Value args = action.value("summary_args", Value::object());
  if (method.is_null()) return no_summary();
  if (method == "last_msg") return last_msg();
  if (method == "reflection_with_llm") {
    const Value prompt = args.value("summary_prompt", Value(autogen_summary_prompt));
    if (!prompt.is_string()) {
      return SummaryMethod([](const SummaryRequest&) -> std::string {
        throw std::invalid_argument("summary_prompt is no text");
      });
    }
    return reflection_with_llm(
        {.prompt = prompt.get<std::string>(),
         .role = role_from_string(args.value("summary_role", "system")).value_or(Role::system)});
  }
  if (!method.is_object()) throw Raised{"raised", "invalid_argument"};
  if (method.at("fn") == "count") {
    return SummaryMethod([](const SummaryRequest& request) {
      return fmt::format("{} messages", request.messages.size());
    });
  }
  return SummaryMethod([args](const SummaryRequest&) {
    std::string text = args.dump(1);  // Python's separators on one line
    std::erase(text, '\n');
    return fmt::format("{{{}", text.substr(text.find_first_not_of("{ ")));
  });
}

Trigger Scenario::trigger(const Value& value) const {
  if (value.is_null()) return Trigger::no_sender();
  if (value.is_string()) return Trigger(value.get<std::string>());
  if (value.is_array()) {
    std::vector<Trigger> any_of;
    for (const Value& one : value) any_of.push_back(trigger(one));
    return Trigger(std::move(any_of));
  }
  if (value.contains("agent")) return Trigger(agent(value["agent"]));
  if (value.contains("class")) {
    const std::string kind = value["class"];
    if (kind == "any" || kind == "conversable") return Trigger::any_sender();
    return Trigger([kind](const ConversableAgent& sender) {
      if (kind == "manager") return sender.kind() == AgentKind::group_chat_manager;
      return sender.kind() == (kind == "assistant" ? AgentKind::assistant : AgentKind::user_proxy);
    });
  }
  if (value.contains("name_starts_with")) {
    return Trigger(
        [prefix = value["name_starts_with"].get<std::string>()](const ConversableAgent& sender) {
          return sender.name().starts_with(prefix);
        });
  }
  return Trigger([names = value.at("not")](const ConversableAgent& sender) {
    return std::find(names.begin(), names.end(), sender.name()) == names.end();
  });
}

Value Scenario::state() {
  Value observed{{"trace", recorder_->trace},           {"model_calls", recorder_->model_calls},
                 {"prompts", recorder_->prompts},       {"chats", chats_},
                 {"histories", Value::object()},        {"counters", Value::object()},
                 {"model_call_counts", Value::object()}};
  for (const Value& call : recorder_->model_calls) {
    Value& count = observed["model_call_counts"][call["agent"].get<std::string>()];
    count = count.is_null() ? 1 : count.get<int>() + 1;
  }
  for (const auto& [name, self] : agents_) {
    const Party here(*session_, self);
    for (const auto& [peer_name, peer] : agents_) {
      for (const MessagePtr& message : here.history(peer)) {
        observed["histories"][name][peer_name].push_back(as_value(**message));
      }
      const std::int64_t counter = here.consecutive_auto_replies(peer);
      if (counter != 0) observed["counters"][name][peer_name] = counter;
    }
  }
  for (const auto& [name, leader] : managers_) {
    Value& said = observed["group_messages"][name] = Value::array();
    for (const MessagePtr& message : leader.messages(*session_)) {
      said.push_back(as_value(**message));
    }
  }
  return observed;
}

// AutoGen takes wrong settings of an agent for an error of the first action.
ScenarioRun run_scenario(const Value& scenario) {
  std::optional<Scenario> scene;
  try {
    scene.emplace(scenario);
  } catch (const std::invalid_argument&) {
    return {.observed = {
                {"trace", Value::array()},
                {"model_calls", Value::array()},
                {"prompts", Value::array()},
                {"chats", Value::array()},
                {"histories", Value::object()},
                {"counters", Value::object()},
                {"model_call_counts", Value::object()},
                {"results", Value::array()},
                {"error", {{"action", 0}, {"kind", "raised"}, {"category", "invalid_argument"}}}}};
  }
  return scene->run();
}

}  // namespace moderato::conformance
