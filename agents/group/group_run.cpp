#include <moderato/agents/group/group_run.hpp>

#include <fmt/core.h>

#include <moderato/agents/group/speaker_selection.hpp>
#include <moderato/agents/prompt.hpp>

namespace moderato {
namespace {

// The run has come to its own end; anything else ends whatever it runs in, too.
bool is_own_end(const Stop& stop) {
  switch (stop.reason) {
    case StopReason::max_messages:  // a cap of the whole chat has another rule
      return stop.rule.starts_with("max_round(");
    case StopReason::termination_message:
    case StopReason::max_consecutive_auto_reply:
    case StopReason::human_skip_on_termination:
    case StopReason::no_reply:
      return true;
    default:
      return false;
  }
}

// One round: the message is noted and told to all, the rules are asked, somebody is chosen and
// speaks. Every participant has its own history with the manager, in which its own words are its
// own and all others' come from the manager under their speakers' names; all of them share one
// stored message, which is serialised once for all their models.
//
// When the speaker's own check says that the talk is over (its rule, its cap, its human), it gives
// no reply, and the run ends.
class GroupRun {
 public:
  GroupRun(const ReplyRequest& request, const GroupDefinition& group)
      : chat_(request.conversation),
        manager_(request.agent),
        group_(group),
        state_(request.session.part<Groups>()[request.agent]),
        request_(request),
        heard_(request.messages.begin(), request.messages.end()),
        inside_(request.sender == nullptr || request.sender->kind() == AgentKind::team ||
                request.sender->kind() == AgentKind::group_chat_manager) {}

  Reply run() {
    Stop stop = talk();
    if (!inside_ || !is_own_end(stop) || state_.messages.empty()) {
      return Reply::none(std::move(stop));
    }
    return Reply::say((*state_.messages.back())->text());
  }

 private:
  Stop talk() {
    if (!inside_) chat_.count_turns_of_a_group();
    if (group_.chat.send_introductions && !state_.resumed) {
      if (Stop stop = introduce()) return stop;
    }
    ConversableAgent speaker = request_.sender != nullptr ? *request_.sender : manager_;
    if (inside_) {
      if (Stop stop = catch_up(speaker)) return stop;
    }
    MessagePtr message = heard_.back();
    Stop after{};  // ends the run once everybody has heard the message
    for (std::int64_t round = 0; round < group_.chat.max_round; ++round) {
      if (Stop stop = note(message, speaker)) return stop;
      if (after) return after;
      if (Stop stop = rule(**state_.messages.back())) return stop;
      if (round + 1 == group_.chat.max_round) break;
      Reply reply = next_reply(speaker);
      if (!reply.message) {
        if (!reply.stop) reply.stop = {.reason = StopReason::no_reply, .agent = speaker.name()};
        return std::move(reply.stop);
      }
      after = hear(speaker, reply);
      message = chat_.party(manager_).with(&speaker).history.back();
    }
    return Stop{.reason = StopReason::max_messages,
                .agent = manager_.name(),
                .rule = fmt::format("max_round({})", group_.chat.max_round),
                .detail = fmt::format("{} messages", group_.chat.max_round)};
  }

  Stop introduce() {
    for (const ConversableAgent& member : group_.chat.agents) {
      if (Stop stop = chat_.pass_on(manager_, member, Message::user(group_.introductions))) {
        return stop;
      }
    }
    return {};
  }

  // A group inside another missed what was said since it spoke last.
  Stop catch_up(const ConversableAgent& outer) {
    std::size_t first = heard_.size() - 1;
    while (first > 0 && (*heard_[first - 1])->role != Role::assistant) --first;
    for (; first + 1 < heard_.size(); ++first) {
      if (Stop stop = note(heard_[first], outer)) return stop;
    }
    return {};
  }

  // Appends to the group's messages and tells everybody but the speaker.
  Stop note(const MessagePtr& message, const ConversableAgent& speaker) {
    const bool from_outside = inside_ && !group_.has(speaker) && !(*message)->name.empty();
    const std::string name = from_outside ? (*message)->name : speaker.name();
    MessagePtr noted = store(as_group_message(**message, name));
    Dialogue& heard_by_manager = chat_.party(manager_).with(&speaker);
    if (!heard_by_manager.history.empty() && heard_by_manager.history.back() == message) {
      heard_by_manager.replace_newest(noted);
    }
    state_.messages.push_back(noted);
    if (!manager_.options().hooks.process_message_before_send.empty()) {
      return tell_one_by_one(**noted, speaker);
    }
    Message told = as_kept(**noted, manager_.name(), Role::assistant);
    Message heard = as_kept(**noted, manager_.name(), Role::user);
    const MessagePtr said = told == **noted ? noted : store(std::move(told));
    const MessagePtr heard_by_all = heard == **noted ? noted : store(std::move(heard));
    for (const ConversableAgent& member : group_.chat.agents) {
      if (member == speaker) continue;
      chat_.party(manager_).with(&member).add(said);
      chat_.party(member).with(&manager_).add(heard_by_all);
    }
    return {};
  }

  Stop tell_one_by_one(const Message& noted, const ConversableAgent& speaker) {
    for (const ConversableAgent& member : group_.chat.agents) {
      if (member == speaker) continue;
      if (Stop stop = chat_.pass_on(manager_, member, noted)) return stop;
    }
    return {};
  }

  Stop rule(const Message& message) {
    const Condition& rule = manager_.options().is_termination_msg;
    auto matched =
        guarded("is_termination_msg", manager_.name(), [&] { return rule.matches(message); });
    if (!matched) return std::move(matched).error();
    if (!*matched) return {};
    return Stop{.reason = StopReason::termination_message,
                .agent = manager_.name(),
                .rule = rule.describe()};
  }

  // Chooses who follows `speaker`, which is that one afterwards, and asks it. A person who
  // interrupts instead of answering gives the word to the admin.
  Reply next_reply(ConversableAgent& speaker) {
    Reply reply;
    Chosen chosen = select_speaker({chat_, manager_, group_, state_, speaker});
    if (chosen.stop) {
      reply = Reply::none(std::move(chosen.stop));
    } else {
      if (Stop stop = announce(chosen)) return Reply::none(std::move(stop));
      if (!chosen.speaker) {
        return Reply::none({.reason = StopReason::no_reply,
                            .agent = manager_.name(),
                            .rule = "no next speaker",
                            .detail = fmt::format("after {}", speaker.name())});
      }
      speaker = *chosen.speaker;
      reply = chat_.generate_reply(chat_.party(speaker), &manager_);
    }
    if (reply.message || reply.stop.reason != StopReason::cancelled) return reply;
    if (Stop stop = chat_.external_stop(manager_.name())) return Reply::none(std::move(stop));
    const ConversableAgent* admin = group_.participant(group_.chat.admin_name);
    if (admin == nullptr) return reply;
    speaker = *admin;
    return chat_.generate_reply(chat_.party(speaker), &manager_);
  }

  Stop announce(const Chosen& chosen) {
    const std::string who = chosen.speaker ? chosen.speaker->name() : std::string();
    if (const auto& told = group_.chat.on_speaker_selected) {
      auto seen = guarded("on_speaker_selected", manager_.name(), [&] {
        told(SpeakerChoice{manager_.name(), who, chosen.method});
        return true;
      });
      if (!seen) return std::move(seen).error();
    }
    for (const ConversableAgent& candidate : chosen.candidates) {
      std::int64_t& waited = state_.waiting[candidate.name()];
      ++waited;
      if (group_.starved_after > 0 && waited % group_.starved_after == 0 &&
          candidate.name() != who) {
        chat_.notify([&] {
          return Warning{fmt::format("{} has not been chosen in {} for {} rounds", candidate.name(),
                                     manager_.name(), waited)};
        });
      }
    }
    state_.waiting[who] = 0;
    return {};
  }

  // The stop ends the run once everybody has heard what was said.
  Stop hear(const ConversableAgent& speaker, Reply& reply) {
    Message said = std::move(*reply.message);
    if (group_.chat.enable_clear_history && asks_to_clear_history(reply.kind, said)) {
      said = obey_clear_history(std::move(said), chat_.session(), manager_, group_);
    }
    Stop stop = chat_.deliver(speaker, manager_, std::move(said), reply.kind);
    return reply.stop ? std::move(reply.stop) : std::move(stop);
  }

  Conversation& chat_;
  const ConversableAgent manager_;
  const GroupDefinition& group_;
  GroupState& state_;
  const ReplyRequest& request_;
  const MessageList heard_;  // a copy: the history that the request shows grows during the run
  const bool inside_;
};

}  // namespace

Reply run_group(const ReplyRequest& request, const GroupDefinition& group) {
  return GroupRun(request, group).run();
}

}  // namespace moderato
