#include <moderato/agents/workflow/workflow_build.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

#include <moderato/agents/assistant_agent.hpp>
#include <moderato/agents/graph/graph_agent.hpp>
#include <moderato/agents/group/group_chat_manager.hpp>
#include <moderato/agents/handoff/handoff.hpp>
#include <moderato/agents/sequence/chat_queue.hpp>
#include <moderato/agents/sequence/nested_chats.hpp>
#include <moderato/agents/user_proxy_agent.hpp>
#include <moderato/agents/workflow/json_positions.hpp>

namespace moderato {
namespace {

/// Reads the member into `into` if it is there.
template <class T>
void read(const Json& json, const char* member, T& into) {
  if (const auto found = json.find(member); found != json.end()) into = found->get<T>();
}
template <class T>
void read(const Json& json, const char* member, std::optional<T>& into) {
  if (const auto found = json.find(member); found != json.end()) into = found->get<T>();
}

SummaryMethod summary_of(const Json& chat) {
  const std::string method = chat.value("summary", "last_msg");
  return method == "last_msg" ? last_msg() : reflection_with_llm();
}

SpeakerSelection selection_of(const Json& group) {
  const std::string method = group.value("speaker_selection", "auto");
  if (method == "handoff") return ByHandoff{};
  return *speaker_selection_method_from_string(method);
}

class Builder {
 public:
  Builder(const Json& document, Runtime& runtime, const WorkflowOptions& options, bool only_check)
      : document_(document),
        runtime_(runtime),
        options_(options),
        model_options_{options.key, options.provider, only_check} {}

  BuiltWorkflow build() {
    for (const auto& [name, json] : section("models")) (void)model(name);
    make_tools();
    for (const auto& [name, json] : section("agents")) (void)agent(name);
    if (faults_.empty()) make_task();
    return {.chats = std::move(chats_), .faults = std::move(faults_)};
  }

 private:
  /// Runs `make`; what it complains of becomes a fault at `pointer`. Members are named by the
  /// conditions inside, which are read first.
  template <class Make>
  void attempt(const std::string& pointer, Make&& make) {
    try {
      make();
    } catch (const std::exception& error) {
      fault(pointer, error.what());
    }
  }
  void fault(const std::string& pointer, const std::string& text) {
    const auto same = [&](const WorkflowFault& known) { return known.text == text; };
    if (std::any_of(faults_.begin(), faults_.end(), same)) return;
    faults_.push_back({pointer, text});
  }

  [[nodiscard]] nlohmann::detail::iteration_proxy<Json::const_iterator> section(
      const char* name) const {
    static const Json empty = Json::object();
    const auto found = document_.find(name);
    return found == document_.end() ? empty.items() : found->items();
  }

  std::optional<Condition> condition(const Json& json, const char* member,
                                     const std::string& pointer) {
    std::optional<Condition> made;
    if (const auto found = json.find(member); found != json.end()) {
      attempt(member_of(pointer, member), [&] { made = workflow_condition(*found); });
    }
    return made;
  }

  // --- Models and tools

  Model model(const std::string& name) {
    if (const auto found = models_.find(name); found != models_.end()) return found->second;
    const std::string pointer = member_of("/models", name);
    if (!making_.insert(pointer).second) {
      fault(pointer, fmt::format("the fallbacks of model \"{}\" lead back to it", name));
      return {};
    }
    const Json& json = document_.at("models").at(name);
    Model made;
    attempt(pointer,
            [&] { made = described_model(runtime_, json, model_options_, fallbacks(json)); });
    making_.erase(pointer);
    return models_.emplace(name, made).first->second;
  }

  std::vector<Model> fallbacks(const Json& json) {
    std::vector<Model> models;
    const auto names = json.find("fallbacks");
    if (names == json.end()) return models;
    for (const Json& name : *names) {
      if (Model next = model(name.get<std::string>())) models.push_back(std::move(next));
    }
    return models;
  }

  void make_tools() {
    const auto names = document_.find("tools");
    if (names == document_.end()) return;
    for (std::size_t i = 0; i < names->size(); ++i) {
      const std::string name = names->at(i).get<std::string>();
      const std::string pointer = item_of("/tools", i);
      if (model_options_.only_check) {
        attempt(pointer, [&] { tools_.emplace(name, tool(name, "", [] { return true; })); });
        continue;
      }
      const auto offered = std::find_if(options_.tools.begin(), options_.tools.end(),
                                        [&](const Tool& given) { return given.name() == name; });
      if (offered == options_.tools.end()) {
        fault(pointer,
              fmt::format("the program that runs this workflow offers no tool \"{}\"", name));
      } else {
        tools_.emplace(name, *offered);
      }
    }
  }

  // --- Agents

  ConversableAgent agent(const std::string& name) {
    if (const auto found = agents_.find(name); found != agents_.end()) return found->second;
    const std::string pointer = member_of("/agents", name);
    ConversableAgent made = nobody();
    if (!making_.insert(pointer).second) {
      fault(pointer, fmt::format("the nested chats of \"{}\" lead back to it", name));
      return made;
    }
    const Json& json = document_.at("agents").at(name);
    attempt(pointer, [&] { made = make_agent(name, json, pointer); });
    making_.erase(pointer);
    return agents_.emplace(name, made).first->second;
  }
  static ConversableAgent nobody() { return ConversableAgent({.name = "nobody"}); }

  ConversableAgent make_agent(const std::string& name, const Json& json,
                              const std::string& pointer) {
    const std::string kind = json.value("kind", "assistant");
    if (kind == "user_proxy") return UserProxyAgent(filled<UserProxyOptions>(name, json, pointer));
    if (kind == "conversable") {
      return ConversableAgent(filled<ConversableOptions>(name, json, pointer));
    }
    if (!json.contains("model") && !json.contains("nested")) {
      fault(pointer, fmt::format("{}: an assistant needs a \"model\"", readable(pointer)));
    }
    return AssistantAgent(filled<AssistantOptions>(name, json, pointer));
  }

  template <class Options>
  Options filled(const std::string& name, const Json& json, const std::string& pointer) {
    Options options;
    options.name = name;
    options.human_input = options_.human_input;
    options.sampling = described_sampling(json);
    read(json, "system_message", options.system_message);
    read(json, "description", options.description);
    read(json, "max_consecutive_auto_reply", options.max_consecutive_auto_reply);
    if (json.contains("model")) options.model = model(json.at("model").get<std::string>());
    if (const auto names = json.find("tools"); names != json.end()) {
      for (const Json& wanted : *names) {
        const auto found = tools_.find(wanted.get<std::string>());
        if (found != tools_.end()) options.tools.push_back(found->second);
      }
    }
    if (const auto names = json.find("handoffs"); names != json.end()) {
      for (const Json& other : *names) options.tools.push_back(handoff(other.get<std::string>()));
    }
    if (const auto mode = json.find("human_input_mode"); mode != json.end()) {
      options.human_input_mode = *mode == "always"  ? HumanInputMode::always
                                 : *mode == "never" ? HumanInputMode::never
                                                    : HumanInputMode::terminate;
    }
    if (auto rule = condition(json, "is_termination_msg", pointer)) {
      options.is_termination_msg = std::move(*rule);
    }
    if (const auto text = json.find("default_auto_reply"); text != json.end()) {
      options.default_auto_reply = Content(text->get<std::string>());
    }
    if (const auto nested = json.find("nested"); nested != json.end()) {
      options.replies.push_back(nested_reply(*nested));
    }
    return options;
  }

  // Not the agent itself: two may hand over to each other.
  Tool handoff(const std::string& other) const {
    const Json& json = document_.at("agents").at(other);
    return handoff_to(other, json.value("description", json.value("system_message", "")));
  }

  ReplyRegistration nested_reply(const Json& json) {
    std::vector<QueuedChat> chats;
    for (const Json& step : json.at("chats")) {
      QueuedChat chat{.recipient = agent(step.at("to").get<std::string>())};
      if (step.contains("message")) chat.message = step.at("message").get<std::string>();
      read(step, "max_turns", chat.options.max_turns);
      chat.options.summary_method = summary_of(step);
      chats.push_back(std::move(chat));
    }
    return nested_chats(std::move(chats), json.at("when_from").get<std::string>());
  }

  std::vector<ConversableAgent> agents_of(const Json& names) {
    std::vector<ConversableAgent> agents;
    for (const Json& name : names) agents.push_back(agent(name.get<std::string>()));
    return agents;
  }

  // --- The task

  void make_task() {
    const Json& task = document_.at("task");
    if (const auto sequence = task.find("sequence"); sequence != task.end()) {
      return make_sequence(*sequence);
    }
    const std::string kind = task.begin().key();
    const std::string pointer = member_of("/task", kind);
    attempt(pointer, [&] {
      const Json& json = task.at(kind);
      QueuedChat chat = kind == "group"   ? group(json, pointer)
                        : kind == "graph" ? graph(json, pointer)
                                          : talk(json, pointer);
      if (!options_.message.empty()) chat.message = options_.message;
      read(document_, "token_budget", chat.options.token_budget);
      add_common(chat);
      chats_.push_back(std::move(chat));
    });
  }

  void make_sequence(const Json& sequence) {
    for (std::size_t i = 0; i < sequence.size(); ++i) {
      const std::string pointer = item_of("/task/sequence", i);
      attempt(pointer, [&] {
        const Json& json = sequence.at(i);
        QueuedChat chat = talk(json, pointer);
        read(json, "id", chat.chat_id);
        read(json, "after", chat.prerequisites);
        if (i == 0 && !options_.message.empty()) chat.message = options_.message;
        add_common(chat);
        chats_.push_back(std::move(chat));
      });
    }
    const bool waits = std::any_of(chats_.begin(), chats_.end(), [](const QueuedChat& chat) {
      return chat.prerequisites.has_value();
    });
    if (waits) attempt("/task/sequence", [&] { (void)DependencyGraph(chats_); });
    if (document_.value("on_budget", "stop") == "final_answer") {
      fault("/on_budget", "on_budget: \"final_answer\" is for one chat; a sequence has several");
    }
  }

  void add_common(QueuedChat& chat) {
    if (auto rule = condition(document_, "termination", "")) {
      chat.options.termination = std::move(*rule);
    }
    if (document_.value("on_budget", "stop") == "final_answer" && chat.options.token_budget) {
      chat.options.on_budget = OnBudget::final_answer;
    }
    chat.options.stream = options_.stream;
  }

  QueuedChat talk(const Json& json, const std::string& pointer) {
    const std::string from = json.at("from").get<std::string>();
    const std::string to = json.at("to").get<std::string>();
    if (from == to) {
      fault(member_of(pointer, "to"), fmt::format("{}: \"{}\" cannot talk to itself",
                                                  readable(member_of(pointer, "to")), to));
    }
    QueuedChat chat{.sender = agent(from),
                    .recipient = agent(to),
                    .message = json.at("message").get<std::string>()};
    read(json, "max_turns", chat.options.max_turns);
    chat.options.summary_method = summary_of(json);
    return chat;
  }

  // Whoever is named must be there to go on.
  void check_handoffs(const Json& members) {
    for (const Json& name : members) {
      const Json& member = document_.at("agents").at(name.get<std::string>());
      const Json others = member.value("handoffs", Json::array());
      const std::string at = member_of(member_of("/agents", name.get<std::string>()), "handoffs");
      for (std::size_t i = 0; i < others.size(); ++i) {
        if (std::find(members.begin(), members.end(), others[i]) != members.end()) continue;
        const std::string place = item_of(at, i);
        fault(place,
              fmt::format("{}: \"{}\" is not in the group that \"{}\" speaks in", readable(place),
                          others[i].get<std::string>(), name.get<std::string>()));
      }
    }
  }

  QueuedChat group(const Json& json, const std::string& pointer) {
    check_handoffs(json.at("agents"));
    GroupChat group{.agents = agents_of(json.at("agents")),
                    .speaker_selection_method = selection_of(json)};
    read(json, "max_round", group.max_round);
    read(json, "send_introductions", group.send_introductions);
    if (json.contains("allow_repeat_speaker")) {
      group.allow_repeat_speaker = json.at("allow_repeat_speaker").get<bool>();
    }
    if (const auto allowed = json.find("transitions"); allowed != json.end()) {
      SpeakerTransitions transitions;
      for (const auto& [name, next] : allowed->items()) {
        transitions[name] = next.get<std::vector<std::string>>();
      }
      group.allowed_or_disallowed_speaker_transitions = std::move(transitions);
      group.speaker_transitions_type = SpeakerTransitionsType::allowed;
    }
    GroupChatManagerOptions options{.group_chat = std::move(group),
                                    .human_input = options_.human_input};
    read(json, "name", options.name);
    if (json.contains("model")) options.model = model(json.at("model").get<std::string>());
    if (auto rule = condition(json, "is_termination_msg", pointer)) {
      options.is_termination_msg = std::move(*rule);
    }
    QueuedChat chat{.sender = agent(json.at("from").get<std::string>()),
                    .recipient = GroupChatManager(std::move(options)),
                    .message = json.at("message").get<std::string>(),
                    .options = {.max_turns = 1}};
    read(json, "max_turns", chat.options.max_turns);
    return chat;
  }

  QueuedChat graph(const Json& json, const std::string& pointer) {
    GraphOptions options{.agents = agents_of(json.at("agents"))};
    const Json& edges = json.at("edges");
    for (std::size_t i = 0; i < edges.size(); ++i) {
      options.edges.push_back(
          {.from = edges[i].at("from").get<std::string>(),
           .to = edges[i].at("to").get<std::string>(),
           .when = condition(edges[i], "when", item_of(member_of(pointer, "edges"), i))});
    }
    read(json, "name", options.name);
    read(json, "start", options.start);
    read(json, "max_visits", options.max_visits);
    read(json, "max_steps", options.max_steps);
    read(json, "max_in_flight", options.max_in_flight);
    if (const auto joins = json.find("joins"); joins != json.end()) {
      for (const auto& [name, join] : joins->items()) {
        options.joins[name] = join == "all" ? Join::all : Join::any;
      }
    }
    return {.sender = agent(json.at("from").get<std::string>()),
            .recipient = GraphAgent(std::move(options)),
            .message = json.at("message").get<std::string>(),
            .options = {.max_turns = 1}};
  }

  const Json& document_;
  Runtime& runtime_;
  const WorkflowOptions& options_;
  const DescribedModelOptions model_options_;
  std::map<std::string, Model> models_;
  std::map<std::string, Tool> tools_;
  std::map<std::string, ConversableAgent> agents_;
  std::set<std::string> making_;  // pointers of what is being made, to find circles
  std::vector<QueuedChat> chats_;
  std::vector<WorkflowFault> faults_;
};

}  // namespace

BuiltWorkflow build_workflow(const Json& document, Runtime& runtime, const WorkflowOptions& options,
                             bool only_check) {
  return Builder(document, runtime, options, only_check).build();
}

}  // namespace moderato
