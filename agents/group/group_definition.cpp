#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>

#include <moderato/agents/group/group_state.hpp>
#include <moderato/agents/prompt.hpp>
#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<SpeakerSelectionMethod, 4> methods{{"auto", "manual", "random", "round_robin"}};

void require(bool holds, const std::string& otherwise) {
  if (!holds) throw std::invalid_argument("GroupChat: " + otherwise);
}

std::vector<std::string> names_of(const Agents& agents) {
  std::vector<std::string> names;
  for (const ConversableAgent& agent : agents) names.push_back(agent.name());
  return names;
}

void check_known(const std::vector<std::string>& names, const std::vector<std::string>& known,
                 const std::string& where) {
  for (const std::string& name : names) {
    require(std::find(known.begin(), known.end(), name) != known.end(),
            fmt::format("{} names \"{}\", who is no participant", where, name));
  }
}

void check_transitions(const GroupChat& chat, const std::vector<std::string>& names) {
  const auto& transitions = chat.allowed_or_disallowed_speaker_transitions;
  if (!transitions) {
    require(!chat.speaker_transitions_type, "speaker_transitions_type without transitions");
    return;
  }
  require(!chat.allow_repeat_speaker,
          "give either allow_repeat_speaker or allowed_or_disallowed_speaker_transitions");
  require(chat.speaker_transitions_type.has_value(),
          "allowed_or_disallowed_speaker_transitions needs a speaker_transitions_type");
  for (const auto& [from, to] : *transitions) {
    check_known({from}, names, "allowed_or_disallowed_speaker_transitions");
    check_known(to, names, fmt::format("the transitions of {}", from));
  }
}

void check(const GroupChat& chat, const std::vector<std::string>& names) {
  require(!names.empty(), "no participants");
  std::set<std::string> seen;
  for (const std::string& name : names) {
    require(seen.insert(name).second, fmt::format("two participants are called \"{}\"", name));
  }
  check_transitions(chat, names);
  if (chat.allow_repeat_speaker) {
    if (const auto* some = std::get_if<std::vector<std::string>>(&*chat.allow_repeat_speaker)) {
      check_known(*some, names, "allow_repeat_speaker");
    }
  }
  require(chat.max_round >= 0, "max_round must not be negative");
  require(chat.max_retries_for_selecting_speaker >= 0,
          "max_retries_for_selecting_speaker must not be negative");
  require(chat.report_starved_after.value_or(0) >= 0, "report_starved_after must not be negative");
  require(!chat.select_speaker_message_template.empty(),
          "select_speaker_message_template must not be empty");
}

SpeakerTransitions successors_of(const GroupChat& chat, const std::vector<std::string>& names) {
  if (!chat.allowed_or_disallowed_speaker_transitions) {
    return default_transitions(names, chat.allow_repeat_speaker.value_or(true));
  }
  if (chat.speaker_transitions_type == SpeakerTransitionsType::allowed) {
    return *chat.allowed_or_disallowed_speaker_transitions;
  }
  return allowed_from_disallowed(names, *chat.allowed_or_disallowed_speaker_transitions);
}

std::string quoted(const std::string& name) {
  const bool has_single = name.find('\'') != std::string::npos;
  const char quote = has_single && name.find('"') == std::string::npos ? '"' : '\'';
  std::string text(1, quote);
  for (const char byte : name) {
    if (byte == '\\' || byte == quote) text += '\\';
    if (byte == '\n') {
      text += "\\n";
    } else {
      text += byte;
    }
  }
  return text + quote;
}

std::string stripped(const std::string& text) {
  constexpr const char* blank = " \t\r\n\f\v";
  const std::size_t first = text.find_first_not_of(blank);
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

}  // namespace

std::string_view to_string(SpeakerSelectionMethod method) noexcept {
  return methods.name_of(method);
}

std::optional<SpeakerSelectionMethod> speaker_selection_method_from_string(std::string_view name) {
  std::string lower;
  for (const char byte : name) {
    lower += byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
  }
  return methods.value_of(lower);
}

GroupDefinition::GroupDefinition(GroupChat group) : chat(std::move(group)) {
  const std::vector<std::string> names = names_of(chat.agents);
  check(chat, names);
  successors = successors_of(chat, names);
  introductions = chat.introductions_message + "\n\n" + role_list(chat.agents);
  starved_after = chat.report_starved_after.value_or(5 * static_cast<std::int64_t>(names.size()));
}

const ConversableAgent* GroupDefinition::participant(std::string_view name) const noexcept {
  const auto found = std::find_if(chat.agents.begin(), chat.agents.end(),
                                  [&](const auto& agent) { return agent.name() == name; });
  return found != chat.agents.end() ? &*found : nullptr;
}

bool GroupDefinition::has(const ConversableAgent& agent) const noexcept {
  return std::find(chat.agents.begin(), chat.agents.end(), agent) != chat.agents.end();
}

const ConversableAgent& GroupDefinition::next_after(const ConversableAgent& last,
                                                    const Agents& candidates) const {
  const auto& all = chat.agents;
  const auto at = std::find_if(all.begin(), all.end(),
                               [&](const auto& agent) { return agent.name() == last.name(); });
  const std::size_t begin = at != all.end() ? static_cast<std::size_t>(at - all.begin()) + 1 : 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const ConversableAgent& next = all[(begin + i) % all.size()];
    if (std::find(candidates.begin(), candidates.end(), next) != candidates.end()) return next;
  }
  return all[begin % all.size()];
}

std::map<std::string, const GroupState*> Groups::by_name() const {
  std::map<std::string, const GroupState*> named;
  for (const auto& [manager, state] : groups_) named.emplace(manager->options.name, &state);
  return named;
}

Message as_group_message(Message message, const std::string& speaker) {
  if (message.role != Role::function) message.name = speaker;
  message.content = Content(message.content.text());
  return message;
}

SpeakerTransitions default_transitions(const std::vector<std::string>& names,
                                       const AllowRepeatSpeaker& allow_repeat) {
  const auto may_repeat = [&](const std::string& name) {
    if (const bool* all = std::get_if<bool>(&allow_repeat)) return *all;
    const auto& some = std::get<std::vector<std::string>>(allow_repeat);
    return std::find(some.begin(), some.end(), name) != some.end();
  };
  SpeakerTransitions allowed;
  for (const std::string& from : names) {
    std::vector<std::string>& to = allowed[from];
    for (const std::string& name : names) {
      if (name != from) to.push_back(name);
    }
    if (may_repeat(from)) to.push_back(from);
  }
  return allowed;
}

SpeakerTransitions allowed_from_disallowed(const std::vector<std::string>& names,
                                           const SpeakerTransitions& disallowed) {
  SpeakerTransitions allowed;
  for (const std::string& from : names) {
    const auto listed = disallowed.find(from);
    std::vector<std::string>& to = allowed[from];
    for (const std::string& name : names) {
      const bool forbidden =
          listed != disallowed.end() &&
          std::find(listed->second.begin(), listed->second.end(), name) != listed->second.end();
      if (!forbidden) to.push_back(name);
    }
  }
  return allowed;
}

std::string name_list(const Agents& agents) {
  std::string list;
  for (const ConversableAgent& agent : agents) {
    list += (list.empty() ? "" : ", ") + quoted(agent.name());
  }
  return "[" + list + "]";
}

std::string role_list(const Agents& agents) {
  std::string list;
  for (const ConversableAgent& agent : agents) {
    if (!list.empty()) list += '\n';
    list += stripped(agent.name() + ": " + agent.description());
  }
  return list;
}

std::string fill_selection_template(const std::string& text, const Agents& agents) {
  return fill_in(text, Json{{"roles", role_list(agents)}, {"agentlist", name_list(agents)}});
}

}  // namespace moderato
