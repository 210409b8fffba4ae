#include <fmt/core.h>

#include <algorithm>
#include <sstream>

#include <moderato/agents/group/group_run.hpp>
#include <moderato/agents/party_state.hpp>
#include <moderato/core/session.hpp>

namespace moderato {
namespace {

std::string upper(std::string text) {
  for (char& byte : text) {
    if (byte >= 'a' && byte <= 'z') byte = static_cast<char>(byte - 'a' + 'A');
  }
  return text;
}

std::optional<std::size_t> number(const std::string& word) {
  const bool digits =
      !word.empty() && word.size() < 10 &&
      std::all_of(word.begin(), word.end(), [](char byte) { return byte >= '0' && byte <= '9'; });
  if (!digits) return std::nullopt;
  return static_cast<std::size_t>(std::stoul(word));
}

std::string without_last(const std::string& word) {
  return word.empty() ? word : word.substr(0, word.size() - 1);
}

// What follows the command: an agent, a number, or both, each perhaps with a full stop behind it.
struct Command {
  const ConversableAgent* agent = nullptr;
  std::optional<std::size_t> keep{};
};

Command command_in(const std::vector<std::string>& words, std::size_t at,
                   const GroupDefinition& group) {
  Command command;
  for (std::size_t i = at + 2; i < std::min(at + 4, words.size()); ++i) {
    const std::string& word = words[i];
    if (const auto plain = number(word)) {
      command.keep = plain;
    } else if (const auto punctuated = number(without_last(word))) {
      command.keep = punctuated;
    } else {
      const ConversableAgent* named = group.participant(word);
      if (named == nullptr) named = group.participant(without_last(word));
      if (named != nullptr) command.agent = named;
    }
  }
  return command;
}

}  // namespace

bool asks_to_clear_history(MessageKind kind, const Message& reply) {
  const bool by_person_or_tool = kind == MessageKind::human || kind == MessageKind::tool_result;
  return (by_person_or_tool || reply.has_calls()) &&
         upper(reply.text()).find("CLEAR HISTORY") != std::string::npos;
}

// A tool's answer always stays with the call that it answers: at least one message is kept.
Message obey_clear_history(Message reply, Session& session, const ConversableAgent& manager,
                           const GroupDefinition& group) {
  std::vector<std::string> words;
  std::istringstream text(reply.text());
  for (std::string word; text >> word;) words.push_back(word);
  std::size_t at = words.size();
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (upper(words[i]) == "CLEAR") at = i;
  }
  if (at == words.size()) return reply;  // inside other words: no command

  const Command command = command_in(words, at, group);
  std::size_t keep = command.keep.value_or(0);
  if (keep == 0 && !reply.tool_responses.empty()) keep = 1;
  auto& parties = session.part<Parties>();
  if (command.agent != nullptr) {
    parties[*command.agent].forget_all_but(keep);
  } else {
    MessageList& said = session.part<Groups>()[manager].messages;
    const std::size_t gone = said.size() - std::min(keep, said.size());
    said.erase(said.begin(), said.begin() + static_cast<std::ptrdiff_t>(gone));
    for (const ConversableAgent& member : group.chat.agents) {
      parties[member].forget_all_but(keep);
    }
  }
  const std::size_t end = std::min(
      words.size(), at + 2 + (command.agent != nullptr ? 1U : 0U) + (command.keep ? 1U : 0U));
  words.erase(words.begin() + static_cast<std::ptrdiff_t>(at),
              words.begin() + static_cast<std::ptrdiff_t>(end));
  std::string rest;
  for (const std::string& word : words) rest += (rest.empty() ? "" : " ") + word;
  reply.content = Content(std::move(rest));
  return reply;
}

}  // namespace moderato
