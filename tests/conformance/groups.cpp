#include "groups.hpp"

#include <algorithm>
#include <stdexcept>

#include <moderato/llm/limiter/limiter.hpp>

#include "transforms.hpp"

namespace moderato::conformance {
namespace {

// What both reminders have in common.
constexpr const char* rules_of_choice =
    " To determine the speaker use these prioritised rules:\n"
    "    1. If the context refers to themselves as a speaker e.g. \"As the...\" , choose that "
    "speaker's name\n"
    "    2. If it refers to the \"next\" speaker name, choose that name\n"
    "    3. Otherwise, choose the first provided speaker's name in the context\n"
    "    The names are case-sensitive and should not be abbreviated or changed.\n";

struct GroupMaker {
  const Value& group;
  const std::map<std::string, ConversableAgent>& agents;
  Runtime& runtime;
  const std::shared_ptr<Recorder>& recorder;
  const std::string manager = group.at("manager").at("name");

  Model model(const std::string& agent, const Value& script) const {
    return scripted_model(runtime, recorder, agent, script);
  }

  SpeakerSelection selection() const {
    const Value method = group.value("speaker_selection_method", Value("auto"));
    if (!method.is_object()) {
      const auto known = speaker_selection_method_from_string(method.get<std::string>());
      if (known) return *known;
      // A program spells a method in C++, which refuses an unknown one when it is compiled; a name
      // that a function gives is refused when it is used.
      return [method](const SelectionRequest&) -> Selection { return method.get<std::string>(); };
    }
    auto position = std::make_shared<std::size_t>(0);
    return [values = method.at("scripted"), position,
            recorder = recorder](const SelectionRequest& request) -> Selection {
      const Value value = *position < values.size() ? values[(*position)++] : Value();
      recorder->trace.push_back({"custom", request.last_speaker.name(), value});
      if (value.is_null()) return std::monostate();
      const std::string text = value;
      if (!text.starts_with('@')) return text;
      const auto known = speaker_selection_method_from_string(text.substr(1));
      if (known) return *known;
      return text;
    };
  }

  void set_transitions(GroupChat& chat) const {
    if (!group.value("transitions", Value()).is_null()) {
      chat.allowed_or_disallowed_speaker_transitions =
          group["transitions"].get<SpeakerTransitions>();
    }
    const Value type = group.value("speaker_transitions_type", Value());
    if (!type.is_null()) {
      const std::string name = type;
      if (name == "allowed") {
        chat.speaker_transitions_type = SpeakerTransitionsType::allowed;
      } else if (name == "disallowed") {
        chat.speaker_transitions_type = SpeakerTransitionsType::disallowed;
      } else {
        throw std::invalid_argument("speaker_transitions_type " + name);
      }
    }
    const Value repeat = group.value("allow_repeat_speaker", Value());
    if (repeat.is_boolean()) chat.allow_repeat_speaker = repeat.get<bool>();
    if (repeat.is_array()) {
      chat.allow_repeat_speaker = repeat.get<std::vector<std::string>>();
    }
  }

  void set_words(GroupChat& chat) const {
    const auto set = [&](const char* name, std::string& words) {
      if (group.contains(name)) words = group[name].is_null() ? Value("") : group[name];
    };
    set("select_speaker_message_template", chat.select_speaker_message_template);
    set("select_speaker_auto_multiple_template", chat.select_speaker_auto_multiple_template);
    set("select_speaker_auto_none_template", chat.select_speaker_auto_none_template);
    if (group.contains("select_speaker_prompt_template")) {
      chat.select_speaker_prompt_template.reset();
      const Value& words = group["select_speaker_prompt_template"];
      if (words.is_string()) chat.select_speaker_prompt_template = words.get<std::string>();
    }
    if (group.contains("role_for_select_speaker_messages")) {
      const Value& name = group["role_for_select_speaker_messages"];
      const auto role = role_from_string(name.is_string() ? name.get<std::string>() : "");
      if (!role) throw std::invalid_argument("role_for_select_speaker_messages");
      chat.role_for_select_speaker_messages = *role;
    }
  }

  GroupChat chat() const {
    GroupChat chat = autogen_group();
    chat.on_speaker_selected = [recorder = recorder](const SpeakerChoice& choice) {
      if (recorder->async) return;  // recordings of the async variant do not have it
      recorder->trace.push_back({"select", choice.group, nullptr});
      if (!choice.speaker.empty()) recorder->trace.back()[2] = choice.speaker;
    };
    for (const Value& name : group.at("participants")) {
      chat.agents.push_back(agents.at(name.get<std::string>()));
    }
    chat.max_round = group.value("max_round", std::int64_t{10});
    chat.speaker_selection_method = selection();
    chat.func_call_filter = group.value("func_call_filter", true);
    chat.max_retries_for_selecting_speaker =
        group.value("max_retries_for_selecting_speaker", std::int64_t{2});
    chat.admin_name = group.value("admin_name", "Admin");
    chat.send_introductions = group.value("send_introductions", false);
    chat.enable_clear_history = group.value("enable_clear_history", false);
    set_transitions(chat);
    set_words(chat);
    if (const Value model_of = group.value("select_speaker_model", Value()); model_of.is_object()) {
      chat.select_speaker_model = model(manager + "/selector", model_of);
    }
    chat.select_speaker_transforms =
        transforms_from(group.value("select_speaker_transforms", Value::array()));
    auto position = std::make_shared<std::size_t>(0);
    chat.draw = [picks = group.value("picks", std::vector<std::size_t>{}), position,
                 recorder = recorder](const std::vector<ConversableAgent>& candidates) {
      const std::size_t pick = *position < picks.size() ? picks[(*position)++] : 0;
      const std::size_t chosen = pick % candidates.size();
      Value names = Value::array();
      for (const ConversableAgent& candidate : candidates) names.push_back(candidate.name());
      recorder->trace.push_back({"pick", names, names[chosen]});
      return chosen;
    };
    return chat;
  }

  // Prompts for a choice are recorded as those of "@manual".
  HumanInput chooser() const {
    const HumanInput person = scripted_human(recorder, group.value("manual", Value::array()));
    return HumanInput([person](HumanPrompt prompt) {
      prompt.agent = "@manual";
      return person(prompt);
    });
  }

  GroupChatManager make() const {
    const Value& leader = group.at("manager");
    GroupChatManagerOptions options{.group_chat = chat(), .name = manager};
    options.description = leader.value("description", "");
    options.is_termination_msg =
        recorded_rule(recorder, manager, leader.value("termination", Value()));
    options.human_input = chooser();
    if (leader.contains("system_message")) options.system_message = leader["system_message"];
    if (const Value script = leader.value("model", Value()); script.is_object()) {
      options.model = model(manager, script);
      if (script.contains("temperature")) options.sampling.temperature = script["temperature"];
      if (script.contains("max_tokens")) options.sampling.max_output_tokens = script["max_tokens"];
    }
    return GroupChatManager(std::move(options));
  }
};

}  // namespace

GroupChat autogen_group() {
  GroupChat chat;
  chat.introductions_message =
      "Hello everyone. We have assembled a great team today to answer questions and solve tasks. "
      "In attendance are:";
  chat.select_speaker_message_template =
      "You are in a role play game. The following roles are available:\n"
      "                {roles}.\n"
      "                Read the following conversation.\n"
      "                Then select the next role from {agentlist} to play. Only return the role.";
  chat.select_speaker_prompt_template =
      "Read the above conversation. Then select the next role from {agentlist} to play. Only "
      "return the role.";
  const std::string rules = rules_of_choice;
  chat.select_speaker_auto_multiple_template =
      "You provided more than one name in your text, please return just the name of the next "
      "speaker." +
      rules + "    Respond with ONLY the name of the speaker and DO NOT provide a reason.";
  chat.select_speaker_auto_none_template =
      "You didn't choose a speaker. As a reminder, to determine the speaker use these prioritised "
      "rules:" +
      rules.substr(rules.find('\n')) +
      "    The only names that are accepted are {agentlist}.\n"
      "    Respond with ONLY the name of the speaker and DO NOT provide a reason.";
  chat.selection_answer = SelectionAnswer::text;
  return chat;
}

std::map<std::string, GroupChatManager> make_groups(
    const Value& scenario, const std::map<std::string, ConversableAgent>& agents, Runtime& runtime,
    const std::shared_ptr<Recorder>& recorder) {
  std::map<std::string, ConversableAgent> known = agents;
  std::map<std::string, GroupChatManager> managers;
  for (const Value& group : scenario.value("groups", Value::array())) {
    const GroupMaker maker{group, known, runtime, recorder};
    const auto made = managers.emplace(maker.manager, maker.make()).first;
    known.emplace(maker.manager, made->second);
  }
  return managers;
}

}  // namespace moderato::conformance
