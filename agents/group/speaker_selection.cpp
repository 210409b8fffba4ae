#include <moderato/agents/group/speaker_selection.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

namespace moderato {
namespace {

// Who may speak. The rules, in this order (AutoGen's):
//
// 1. After a message that calls tools: those who can run all of them; if nobody can, those who run
//    any tool at all. A single one speaks, even twice in a row, whatever the transitions say.
// 2. Without the last speaker, where it may not repeat.
// 3. Those whom the transitions allow after the last speaker. After an outsider: everybody.
//
// Where 1 and 3 have nobody in common, everybody may speak. In AutoGen the same holds where the
// list of successors is empty, which says the opposite of what it means: here the group chat ends,
// as it does for a speaker that has no list.
struct Eligible {
  Agents agents{};
  std::optional<ConversableAgent> only{};  // of rule 1
  bool nobody = false;
  std::optional<Stop> stop{};
};

bool can_run(const ConversableAgent& agent, const std::string& function) {
  const Tool* tool = AgentDefinition::of(agent).runnable(function);
  return tool != nullptr && tool->has_function();
}

bool runs_tools(const ConversableAgent& agent) {
  const auto runs = [](const Tool& tool) { return tool.has_function(); };
  const ConversableOptions& options = agent.options();
  return std::any_of(options.runs.begin(), options.runs.end(), runs) ||
         std::any_of(options.tools.begin(), options.tools.end(), runs);
}

std::vector<std::string> called_functions(const Message& message) {
  std::vector<std::string> functions;
  if (message.function_call) functions.push_back(message.function_call->name);
  for (const ToolCall& call : message.tool_calls) functions.push_back(call.name);
  return functions;
}

template <class Predicate>
Agents those_who(const Agents& agents, Predicate predicate) {
  Agents some;
  std::copy_if(agents.begin(), agents.end(), std::back_inserter(some), predicate);
  return some;
}

Eligible who_can_run(const SelectionScene& scene, const std::vector<std::string>& functions) {
  const Agents& all = scene.group.chat.agents;
  Eligible eligible;
  eligible.agents = those_who(all, [&](const ConversableAgent& agent) {
    return std::all_of(functions.begin(), functions.end(),
                       [&](const std::string& function) { return can_run(agent, function); });
  });
  if (eligible.agents.empty()) eligible.agents = those_who(all, runs_tools);
  if (eligible.agents.size() == 1) eligible.only = eligible.agents.front();
  if (eligible.agents.empty()) {
    std::string names;
    for (const std::string& function : functions) names += (names.empty() ? "" : ", ") + function;
    eligible.stop = stop_from(
        Error{.code = ErrorCode::invalid_request,
              .message = fmt::format("no participant of {} runs tools, and {} is called: give it "
                                     "to an agent's tools or runs",
                                     scene.manager.name(), names)},
        scene.manager.name(), StopReason::tool_error);
  }
  return eligible;
}

bool may_repeat(const GroupChat& chat, const ConversableAgent& last) {
  if (!chat.allow_repeat_speaker) return true;
  if (const bool* all = std::get_if<bool>(&*chat.allow_repeat_speaker)) return *all;
  const auto& some = std::get<std::vector<std::string>>(*chat.allow_repeat_speaker);
  return std::find(some.begin(), some.end(), last.name()) != some.end();
}

Eligible who_may_speak(const SelectionScene& scene) {
  const GroupDefinition& group = scene.group;
  Eligible eligible{.agents = group.chat.agents};
  if (group.chat.func_call_filter && !scene.state.messages.empty()) {
    const auto functions = called_functions(**scene.state.messages.back());
    if (!functions.empty()) eligible = who_can_run(scene, functions);
    if (eligible.only || eligible.stop) return eligible;
  }
  const bool in_group = group.has(scene.last_speaker);
  if (!in_group) {
    eligible.agents = group.chat.agents;
    return eligible;
  }
  if (!may_repeat(group.chat, scene.last_speaker)) {
    std::erase(eligible.agents, scene.last_speaker);
  }
  const auto successors = group.successors.find(scene.last_speaker.name());
  if (successors == group.successors.end() || successors->second.empty()) {
    eligible.nobody = true;
    return eligible;
  }
  eligible.agents = those_who(eligible.agents, [&](const ConversableAgent& agent) {
    return std::find(successors->second.begin(), successors->second.end(), agent.name()) !=
           successors->second.end();
  });
  if (eligible.agents.size() == 1) eligible.only = eligible.agents.front();
  if (eligible.agents.empty()) eligible.agents = group.chat.agents;
  return eligible;
}

// The number that a person typed; 0: none.
std::size_t typed_number(std::string_view text) {
  constexpr std::string_view blank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return 0;
  text = text.substr(first, text.find_last_not_of(blank) - first + 1);
  if (text.starts_with('+')) text.remove_prefix(1);
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

// A person has two tries; after that, or when they leave the choice open, the next candidate in the
// order of the participants speaks. (AutoGen takes the next of all participants, allowed or not.)
Chosen select_by_hand(const SelectionScene& scene, const Agents& candidates) {
  constexpr int tries = 2;
  HumanPrompt prompt{.situation = HumanSituation::choose_speaker,
                     .agent = scene.manager.name(),
                     .peer = scene.last_speaker.name(),
                     .text = {}};
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    prompt.text += fmt::format("{}: {}\n", i + 1, candidates[i].name());
  }
  prompt.text += prompt_text(HumanSituation::choose_speaker, scene.manager.name(), "");
  for (int i = 0; i < tries; ++i) {
    auto typed = scene.chat.ask_person(scene.group.human_input, prompt);
    if (!typed) {
      return failed_choice(
          stop_from(std::move(typed).error(), scene.manager.name(), StopReason::human_error));
    }
    if (typed->empty() || *typed == "q") break;
    const std::size_t number = typed_number(*typed);
    if (number >= 1 && number <= candidates.size()) return {.speaker = candidates[number - 1]};
  }
  return {.speaker = scene.group.next_after(scene.last_speaker, candidates)};
}

Chosen draw(const SelectionScene& scene, const Agents& candidates) {
  if (!scene.group.chat.draw) {
    const std::uint64_t random = scene.chat.session().effects().random();
    return {.speaker = candidates[static_cast<std::size_t>(random % candidates.size())]};
  }
  auto drawn =
      guarded("draw", scene.manager.name(), [&] { return scene.group.chat.draw(candidates); });
  if (!drawn) return failed_choice(std::move(drawn).error());
  if (*drawn >= candidates.size()) {
    return failed_choice(
        callback_stop("draw", scene.manager.name(),
                      fmt::format("index {} of {} candidates", *drawn, candidates.size())));
  }
  return {.speaker = candidates[*drawn]};
}

Chosen by_method(const SelectionScene& scene, SpeakerSelectionMethod method) {
  if (scene.group.chat.agents.size() < 2) {
    return failed_choice(
        stop_from(Error{.code = ErrorCode::invalid_request,
                        .message = fmt::format("{} leads a group of one: nobody can be chosen",
                                               scene.manager.name())},
                  scene.manager.name(), StopReason::callback_error));
  }
  Eligible eligible = who_may_speak(scene);
  if (eligible.stop) return failed_choice(std::move(*eligible.stop));
  if (eligible.nobody) return {};
  if (eligible.only) return {.speaker = eligible.only, .method = "only candidate"};
  Chosen chosen;
  switch (method) {
    case SpeakerSelectionMethod::automatic:
      chosen = select_by_model(scene, eligible.agents);
      break;
    case SpeakerSelectionMethod::manual:
      chosen = select_by_hand(scene, eligible.agents);
      break;
    case SpeakerSelectionMethod::random:
      chosen = draw(scene, eligible.agents);
      break;
    case SpeakerSelectionMethod::round_robin:
      chosen.speaker = scene.group.next_after(scene.last_speaker, eligible.agents);
      break;
  }
  if (chosen.method.empty()) chosen.method = to_string(method);
  chosen.candidates = std::move(eligible.agents);
  return chosen;
}

Chosen by_function(const SelectionScene& scene, const SelectSpeaker& function) {
  const std::string& name = scene.manager.name();
  auto selected = guarded("speaker_selection_method", name, [&] {
    return function(SelectionRequest{scene.chat.session(), scene.group.chat, scene.last_speaker,
                                     scene.state.messages});
  });
  if (!selected) return failed_choice(std::move(selected).error());
  if (std::holds_alternative<std::monostate>(*selected)) return {.method = "custom"};
  if (const auto* method = std::get_if<SpeakerSelectionMethod>(&*selected)) {
    return by_method(scene, *method);
  }
  const ConversableAgent* agent = std::get_if<ConversableAgent>(&*selected);
  const std::string& who = agent != nullptr ? agent->name() : std::get<std::string>(*selected);
  const bool known = agent == nullptr || scene.group.has(*agent);
  const ConversableAgent* speaker = known ? scene.group.participant(who) : nullptr;
  if (speaker == nullptr) {
    return failed_choice(stop_from(
        Error{.code = ErrorCode::internal,
              .message = fmt::format("the speaker selection of {} chose \"{}\", who is no "
                                     "participant; there are {}",
                                     name, who, name_list(scene.group.chat.agents))},
        name, StopReason::callback_error));
  }
  return {.speaker = *speaker, .method = "custom", .candidates = scene.group.chat.agents};
}

}  // namespace

Chosen failed_choice(Stop stop) {
  return {.stop = std::move(stop)};
}

Chosen select_speaker(const SelectionScene& scene) {
  const SpeakerSelection& selection = scene.group.chat.speaker_selection_method;
  if (const ByHandoff* handoff = selection.handoff()) return select_by_handoff(scene, *handoff);
  if (const SelectSpeaker* function = selection.function()) return by_function(scene, *function);
  return by_method(scene, *selection.method());
}

}  // namespace moderato
