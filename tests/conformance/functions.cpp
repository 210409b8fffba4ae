#include "functions.hpp"

#include <fmt/core.h>
#include <algorithm>

#include <functional>
#include <map>
#include <stdexcept>

#include <moderato/agents/carryover.hpp>
#include <moderato/agents/code_execution/code_block.hpp>
#include <moderato/agents/code_execution/code_text.hpp>
#include <moderato/agents/conversable_agent.hpp>
#include <moderato/agents/group/group_state.hpp>
#include <moderato/agents/prompt.hpp>
#include <moderato/agents/summary.hpp>
#include <moderato/agents/tool_json.hpp>
#include <moderato/llm/cache/request_text.hpp>
#include <moderato/llm/providers/config_list.hpp>

#include "code.hpp"
#include "groups.hpp"
#include "recorder.hpp"
#include "transforms.hpp"

namespace moderato::conformance {
namespace {

Message parsed_message(Value message) {
  if (!message.contains("role")) message["role"] = "user";
  if (!message.contains("content")) message["content"] = nullptr;
  auto parsed = message_from_json(as_json(message));
  if (!parsed) throw std::invalid_argument(parsed.error().message);
  return std::move(*parsed);
}

Content parsed_content(const Value& args) {
  return parsed_message({{"content", args.at("content")}}).content;
}

// Our items are texts and messages; Python's str() of other things is said here.
Carryover parsed_carryover(const Value& given) {
  if (given.is_null()) return {};
  if (given.is_string()) return Carryover(given.get<std::string>());
  if (!given.is_array()) throw std::invalid_argument("a carryover is a text or a list");
  std::vector<Carryover::Item> items;
  for (const Value& item : given) {
    if (item.is_string()) {
      items.emplace_back(item.get<std::string>());
    } else if (item.is_object() && item.contains("content")) {
      items.emplace_back(parsed_message(item));
    } else {
      items.emplace_back(item.is_null() ? std::string("None") : item.dump());
    }
  }
  return Carryover(std::move(items));
}

Value opening(const Value& args) {
  const Value& message = args.at("message");
  if (message.is_array()) throw std::invalid_argument("a message is a text or an object");
  const Carryover carryover = parsed_carryover(args.value("carryover", Value()));
  if (message.is_string()) {
    return with_carryover(Message::user(message.get<std::string>()), carryover).text();
  }
  Value whole = as_value(with_carryover(parsed_message(message), carryover));
  if (!message.contains("role")) whole.erase("role");
  if (!message.contains("content")) whole.erase("content");
  return whole;
}

MessageList parsed_messages(const Value& args) {
  MessageList messages;
  for (const Value& message : args.at("messages")) {
    messages.push_back(store(parsed_message(message)));
  }
  return messages;
}

Value transform(const Value& args) {
  Value shown = Value::array();
  for (const MessagePtr& message : transformed(args.at("transform"), parsed_messages(args))) {
    shown.push_back(as_value(**message));
  }
  return shown;
}

// The built-in runner has a block for a text without any.
Value extract_code(const Value& args) {
  const std::string text = parsed_content({{"content", args.at("text")}}).text();
  const auto blocks = fenced_blocks(text);
  return blocks.empty() ? Value::array({{"unknown", text}}) : as_value(blocks);
}

Value file_name(const Value& args) {
  const auto name = file_name_from(args.at("code").get<std::string>());
  if (!name) throw std::invalid_argument(name.error().message);
  return *name ? Value(**name) : Value();
}

Value valid_name(const Value& args) {
  const std::string name = args.at("name");
  Tool(RawTool{.definition = {.name = name}});  // throws for a name that is none
  return name;
}

// A group of agents with these [name, description] pairs or names.
GroupDefinition group_of(const Value& agents) {
  GroupChat chat = autogen_group();
  for (const Value& agent : agents) {
    ConversableOptions options{.name = agent.is_array() ? agent[0] : agent};
    if (agent.is_array()) options.description = agent[1];
    chat.agents.emplace_back(std::move(options));
  }
  return GroupDefinition(std::move(chat));
}

Value mentioned(const Value& args) {
  const std::string text = args.at("text").is_string()
                               ? args["text"]
                               : Value(parsed_message({{"content", args["text"]}}).text());
  return mentioned_agents(args.value("among", args.at("names")), text);
}

// The longest name that fits counts: entries in which one name is part of another may differ.
bool one_name_in_another(const Value& names) {
  for (const Value& name : names) {
    for (const Value& other : names) {
      if (name != other && other.get<std::string>().starts_with(name.get<std::string>())) {
        return true;
      }
    }
  }
  return false;
}

Value next_agent(const Value& args) {
  const GroupDefinition group = group_of(args.at("names"));
  Agents among;
  for (const Value& name : args.value("among", args["names"])) {
    const ConversableAgent* agent = group.participant(name.get<std::string>());
    if (agent == nullptr) throw std::invalid_argument("no participant");
    among.push_back(*agent);
  }
  if (among.empty()) throw std::invalid_argument("nobody");
  const std::string last = args.value("last", "");
  const ConversableAgent* speaker = group.participant(last);
  const ConversableAgent outsider({.name = last.empty() ? "outsider" : last});
  return group.next_after(speaker != nullptr ? *speaker : outsider, among).name();
}

Value select_speaker_message(const Value& args) {
  const GroupDefinition group = group_of(args.at("agents"));
  const GroupChat& chat = group.chat;
  return {{"message", fill_selection_template(chat.select_speaker_message_template, chat.agents)},
          {"prompt", fill_selection_template(*chat.select_speaker_prompt_template, chat.agents)},
          {"introductions", group.introductions}};
}

Value default_successors(const Value& args) {
  const Value& repeat = args.at("allow_repeat_speaker");
  AllowRepeatSpeaker allowed = true;
  if (repeat.is_boolean()) allowed = repeat.get<bool>();
  if (repeat.is_array()) allowed = repeat.get<std::vector<std::string>>();
  return default_transitions(args.at("names"), allowed);
}

std::string cached_request(const Value& params) {
  ModelRequest request;
  for (const Value& message : params.at("messages")) {
    request.messages.push_back(store(parsed_message(message)));
  }
  if (params.contains("temperature")) request.sampling.temperature = params["temperature"];
  if (params.contains("max_tokens")) request.sampling.max_output_tokens = params["max_tokens"];
  if (params.contains("tools")) {
    std::vector<ToolDefinition> tools;
    for (const Value& tool : params["tools"]) {
      tools.push_back({.name = tool.value("/function/name"_json_pointer, std::string()),
                       .parameters = as_json(tool)});
    }
    request.tools = std::make_shared<const std::vector<ToolDefinition>>(std::move(tools));
  }
  return request_text(params.value("model", ""), request, request.sampling);
}

// Something of it looks different in Python's JSON and is the same here.
bool is_untyped(const Value& value) {
  if (value.is_null() || (value.is_array() && value.empty())) return true;
  if (value.is_number_float()) return value == Value(value.get<std::int64_t>());
  return value.is_structured() && std::any_of(value.begin(), value.end(), is_untyped);
}

Value same_request(const Value& args) {
  return cached_request(args.at("a")) == cached_request(args.at("b"));
}

Value picked_configs(const Value& args) {
  std::vector<ConfigEntry> list;
  for (const Value& settings : args.at("configs")) list.push_back({.settings = as_json(settings)});
  std::vector<ConfigCriterion> criteria;
  for (const auto& [setting, values] : args.at("filter").items()) {
    criteria.push_back({.setting = setting});
    for (const Value& value : values) criteria.back().values.push_back(as_json(value));
  }
  Value picked = Value::array();
  for (const ConfigEntry& entry : filter_config(list, criteria, args.value("exclude", false))) {
    picked.push_back(as_value(entry.settings));
  }
  return picked;
}

using Function = std::function<Value(const Value& args)>;

const std::map<std::string, Function, std::less<>>& functions() {
  static const std::map<std::string, Function, std::less<>> table{
      {"content_str", [](const Value& args) { return parsed_content(args).text(); }},
      {"normalize_name",
       [](const Value& args) { return normalized_name(args.at("name").get<std::string>()); }},
      {"assert_valid_name", valid_name},
      {"format_json_str",
       [](const Value& args) { return repair_json(args.at("text").get<std::string>()); }},
      {"serialize_result",
       [](const Value& args) { return result_text(as_json(args.at("value"))); }},
      {"carryover", opening},
      {"transform", transform},
      {"extract_code", extract_code},
      {"extract_code_blocks",
       [](const Value& args) {
         return as_value(
             extract_code_blocks(parsed_content({{"content", args.at("text")}}).text()));
       }},
      {"infer_lang",
       [](const Value& args) { return infer_language(args.at("code").get<std::string>()); }},
      {"filename_from_code", file_name},
      {"silence_pip",
       [](const Value& args) {
         return with_quiet_pip(args.at("lang").get<std::string>(),
                               args.at("code").get<std::string>());
       }},
      {"mentioned_agents", mentioned},
      {"next_agent", next_agent},
      {"select_speaker_message", select_speaker_message},
      {"default_transitions", default_successors},
      {"disallowed_to_allowed",
       [](const Value& args) {
         return allowed_from_disallowed(args.at("names"), args.at("disallowed"));
       }},
      {"same_cache_key", same_request},
      {"filter_config", picked_configs},
      {"summary_last_msg",
       [](const Value& args) { return last_message_summary(parsed_content(args)); }},
      {"default_termination",
       [](const Value& args) {
         return default_termination_message().matches(parsed_message(args.at("message")));
       }},
  };
  return table;
}

}  // namespace

FunctionOutcome run_function(const Value& entry) {
  FunctionOutcome outcome;
  const std::string name = entry.at("fn");
  const auto found = functions().find(name);
  if (found == functions().end()) {
    outcome.supported = false;
    return outcome;
  }
  if (name == "summary_last_msg") outcome.tag = "summary-strips-inside-words";
  if (name == "transform") {
    outcome.tag = transform_quirk(entry["args"]["transform"], parsed_messages(entry["args"]));
  }
  if (name == "same_cache_key" && is_untyped(entry["args"])) outcome.tag = "untyped-request";
  if (name == "filename_from_code") outcome.tag = "comment-taken-for-filename";
  if (name == "mentioned_agents" && one_name_in_another(entry["args"].at("names"))) {
    outcome.tag = "escaped-underscore-double-mention";
  }
  const bool raises = entry.contains("raises");
  try {
    const Value result = found->second(entry.at("args"));
    outcome.difference = raises ? fmt::format("expected {}, got {}",
                                              entry["raises"].get<std::string>(), result.dump())
                                : first_difference(entry.at("result"), result, {});
  } catch (const std::invalid_argument& error) {
    if (!raises) outcome.difference = fmt::format("unexpected error: {}", error.what());
  }
  return outcome;
}

}  // namespace moderato::conformance
