#include "cast.hpp"

#include <stdexcept>

#include <moderato/agents/assistant_agent.hpp>
#include <moderato/agents/user_proxy_agent.hpp>

#include "code.hpp"
#include "tool_behavior.hpp"
#include "transforms.hpp"

namespace moderato::conformance {
namespace {

constexpr const char* autogen_system_message = "You are a helpful AI Assistant.";
constexpr std::int64_t autogen_cap = 100;

HumanInputMode mode_from(const Value& agent, HumanInputMode otherwise) {
  const std::string mode = agent.value("human_input_mode", "");
  if (mode == "ALWAYS") return HumanInputMode::always;
  if (mode == "TERMINATE") return HumanInputMode::terminate;
  if (mode == "NEVER") return HumanInputMode::never;
  return otherwise;
}

std::optional<Content> default_reply_from(const Value& agent) {
  const Value reply = agent.value("default_auto_reply", Value(""));
  if (reply.is_null()) return std::nullopt;
  return message_from(reply).content;
}

// AutoGen's words where nothing is given. An empty description is kept there; a blank one is as
// good.
std::string description_from(const Value& agent, HumanInputMode mode) {
  const Value given = agent.value("description", Value());
  if (given.is_string()) return given.get<std::string>().empty() ? " " : given.get<std::string>();
  if (agent.at("kind") == "assistant" && !agent.contains("system_message")) {
    return "A helpful and general-purpose AI assistant that has strong language skills, Python "
           "skills, and Linux command line skills.";
  }
  if (agent["kind"] != "user_proxy") return {};
  switch (mode) {
    case HumanInputMode::always:
      return "An attentive HUMAN user who can answer questions about the task, and can perform "
             "tasks such as running Python code or inputting command line commands at a Linux "
             "terminal and reporting back the execution results.";
    case HumanInputMode::terminate:
      return "A user that can run Python code or input command line commands at a Linux terminal "
             "and report back the execution results.";
    case HumanInputMode::never:
      return "A computer terminal that performs no other action than running Python scripts "
             "(provided to it quoted in ```python code blocks), or sh shell scripts (provided to "
             "it quoted in ```sh code blocks).";
  }
  return {};
}

Content with_suffix(const Content& content, const std::string& suffix) {
  return content.is_text() ? Content(std::string(content.as_text()) + suffix) : content;
}

MessageList newest(MessageList messages, std::size_t keep, const std::string& suffix) {
  if (keep > 0 && messages.size() > keep) {
    messages.erase(messages.begin(), messages.end() - static_cast<std::ptrdiff_t>(keep));
  }
  for (MessagePtr& message : messages) {
    Message copy = **message;
    copy.content = with_suffix(copy.content, suffix);
    message = store(std::move(copy));
  }
  return messages;
}

Hooks hooks_from(const Value& agent) {
  Hooks hooks;
  for (const Value& hook : agent.value("hooks", Value::array())) {
    const std::string suffix = hook.value("append", "");
    const std::size_t keep = hook.value("keep_last", std::size_t{0});
    if (hook.at("method") == "process_message_before_send") {
      hooks.process_message_before_send.push_back(
          [=](const ConversableAgent&, const ConversableAgent&, Message message) {
            message.content = with_suffix(message.content, suffix);
            return message;
          });
    } else if (hook["method"] == "process_last_received_message") {
      hooks.process_last_received_message.push_back(
          [=](const Content& content) { return with_suffix(content, suffix); });
    } else {
      hooks.process_all_messages_before_reply.push_back(
          [=](MessageList messages) { return newest(std::move(messages), keep, suffix); });
    }
  }
  return hooks;
}

struct Cast {
  const Value& scenario;
  Runtime& runtime;
  const std::shared_ptr<Recorder>& recorder;
  const std::stop_source& interrupt;

  template <class Options>
  Options options(const Value& agent, HumanInputMode mode, const char* system_message) const {
    const std::string name = agent.at("name");
    Options options{.name = name};
    options.system_message = agent.value("system_message", system_message);
    options.description = description_from(agent, mode_from(agent, mode));
    options.human_input_mode = mode_from(agent, mode);
    options.max_consecutive_auto_reply = agent.value("max_consecutive_auto_reply", autogen_cap);
    options.is_termination_msg = recorded_rule(recorder, name, agent.value("termination", Value()));
    options.human_input = scripted_human(recorder, agent.value("human", Value::array()));
    options.default_auto_reply = default_reply_from(agent);
    options.hooks = hooks_from(agent);
    if (agent.contains("code")) {
      options.code_execution = code_execution_from(recorder, name, agent["code"]);
    }
    options.transforms = transforms_from(agent.value("transforms", Value::array()));
    if (const Value model = agent.value("model", Value()); model.is_object()) {
      options.model = scripted_model(runtime, recorder, name, model);
      options.allow_format_str_template = model.value("allow_format_str_template", false);
      if (model.contains("temperature")) options.sampling.temperature = model["temperature"];
      if (model.contains("max_tokens")) options.sampling.max_output_tokens = model["max_tokens"];
    }
    for (const Value& tool : scenario.value("tools", Value::array())) {
      for (const Value& caller : tool.value("caller", Value::array())) {
        if (caller == name) options.tools.push_back(declared_tool(tool));
      }
      for (const Value& executor : tool.value("executor", Value::array())) {
        if (executor == name) options.runs.push_back(behaving_tool(recorder, interrupt, tool));
      }
    }
    return options;
  }

  ConversableAgent make(const Value& agent) const {
    const std::string kind = agent.at("kind");
    if (kind == "assistant") {
      return AssistantAgent(options<AssistantOptions>(agent, HumanInputMode::never, ""));
    }
    if (kind == "user_proxy") {
      return UserProxyAgent(options<UserProxyOptions>(agent, HumanInputMode::always, ""));
    }
    return ConversableAgent(
        options<ConversableOptions>(agent, HumanInputMode::terminate, autogen_system_message));
  }
};

}  // namespace

Message message_from(const Value& value) {
  if (value.is_string()) return Message::user(value.get<std::string>());
  Value whole = value;
  if (!whole.contains("role")) whole["role"] = "user";
  if (!whole.contains("content")) whole["content"] = nullptr;
  auto message = message_from_json(as_json(whole));
  if (!message) throw std::runtime_error(message.error().message);
  return std::move(*message);
}

std::map<std::string, ConversableAgent> make_cast(const Value& scenario, Runtime& runtime,
                                                  const std::shared_ptr<Recorder>& recorder,
                                                  const std::stop_source& interrupt) {
  const Cast cast{scenario, runtime, recorder, interrupt};
  std::map<std::string, ConversableAgent> agents;
  for (const Value& agent : scenario.at("agents")) {
    agents.emplace(agent.at("name").get<std::string>(), cast.make(agent));
  }
  return agents;
}

}  // namespace moderato::conformance
