#include <moderato/agents/group/group_chat_manager.hpp>

#include <fmt/core.h>

#include <stdexcept>

#include <moderato/agents/group/group_run.hpp>
#include <moderato/agents/prompt.hpp>

namespace moderato {
namespace {

std::shared_ptr<const GroupDefinition> define(const GroupChatManagerOptions& options) {
  for (const ConversableAgent& member : options.group_chat.agents) {
    if (member.name() == options.name) {
      throw std::invalid_argument(fmt::format(
          "GroupChatManager: a participant has the manager's name, \"{}\"", options.name));
    }
  }
  auto group = std::make_shared<GroupDefinition>(options.group_chat);
  group->human_input = options.human_input;
  group->sampling = options.sampling;
  return group;
}

ConversableOptions as_agent(const GroupChatManagerOptions& options,
                            const std::shared_ptr<const GroupDefinition>& group) {
  return {.name = options.name,
          .system_message = options.system_message,
          .description = options.description,
          .model = options.model,
          .sampling = options.sampling,
          .human_input_mode = HumanInputMode::never,
          .is_termination_msg = options.is_termination_msg,
          .human_input = options.human_input,
          .replies = {ReplyRegistration{
              .reply = [group](const ReplyRequest& request) { return run_group(request, *group); },
              .remove_other_reply_funcs = true}}};
}

AgentInside inside_of(const std::shared_ptr<const GroupDefinition>& group) {
  AgentInside inside{.members = group->chat.agents, .group = group};
  if (group->chat.select_speaker_model) {
    // So that it is checked where it lives, like every other model of the group.
    inside.members.push_back(
        ConversableAgent({.name = "speaker selection", .model = group->chat.select_speaker_model}));
  }
  return inside;
}

Message without(Message message, const std::string& text) {
  std::string content = message.text();
  for (std::size_t at = content.find(text); at != std::string::npos; at = content.find(text, at)) {
    content.erase(at, text.size());
  }
  message.content = Content(std::move(content));
  return message;
}

// One message of the past, as everybody has it: the speaker its own words, all others those of the
// manager under the speaker's name. (AutoGen tells them to the speaker, too.)
void restore(Parties& parties, const ConversableAgent& manager, const GroupDefinition& group,
             const Message& message) {
  const Message told = as_kept(message, manager.name(), Role::assistant);
  const Message heard = as_kept(message, manager.name(), Role::user);
  const MessagePtr told_to_all = store(told);
  const MessagePtr heard_by_all = store(heard);
  for (const ConversableAgent& member : group.chat.agents) {
    const bool own = member.name() == message.name;
    parties[manager].with(&member).add(own ? heard_by_all : told_to_all);
    parties[member].with(&manager).add(own ? told_to_all : heard_by_all);
  }
}

}  // namespace

GroupChatManager::GroupChatManager(GroupChatManagerOptions options)
    : GroupChatManager(options, define(options)) {}

GroupChatManager::GroupChatManager(const GroupChatManagerOptions& options,
                                   const std::shared_ptr<const GroupDefinition>& group)
    : ConversableAgent(AgentKind::group_chat_manager, as_agent(options, group), inside_of(group)) {}

const GroupChat& GroupChatManager::group_chat() const noexcept {
  return AgentDefinition::of(*this).inside.group->chat;
}

const MessageList& GroupChatManager::messages(Session& session) const {
  return session.part<Groups>()[*this].messages;
}

Result<ResumedGroup> GroupChatManager::resume(Session& session, std::vector<Message> messages,
                                              const std::string& remove_termination_string) const {
  const GroupDefinition& group = *AgentDefinition::of(*this).inside.group;
  Parties& parties = session.part<Parties>();
  GroupState& state = session.part<Groups>()[*this];
  for (const ConversableAgent& member : group.chat.agents) parties[member].forget_all_but(0);
  parties[*this].forget_all_but(0);
  state = GroupState{.resumed = true};

  if (messages.empty()) {
    return fail(ErrorCode::invalid_request,
                fmt::format("{} can resume nothing: there are no messages", name()));
  }
  for (Message& message : messages) {
    if (message.name.empty()) message.name = name();
    if (group.participant(message.name) == nullptr && message.name != name() &&
        message.name != group.chat.admin_name) {
      return fail(ErrorCode::invalid_request,
                  fmt::format("{} cannot resume: \"{}\" is no participant; there are {}", name(),
                              message.name, name_list(group.chat.agents)));
    }
  }
  Message last = std::move(messages.back());
  messages.pop_back();
  for (const Message& message : messages) {
    restore(parties, *this, group, message);
    state.messages.push_back(store(as_group_message(message, message.name)));
  }
  if (!remove_termination_string.empty())
    last = without(std::move(last), remove_termination_string);
  const ConversableAgent* speaker = group.participant(last.name);
  const bool is_termination = options().is_termination_msg.matches(last);
  return ResumedGroup{.last_speaker = speaker != nullptr ? *speaker : *this,
                      .last_message = std::move(last),
                      .is_termination = is_termination};
}

}  // namespace moderato
