#include <moderato/agents/party_state.hpp>

#include <algorithm>

namespace moderato {

PartyState::PartyState(const ConversableAgent& who)
    : agent(who),
      system(AgentDefinition::of(who).system),
      cap(who.options().max_consecutive_auto_reply),
      replies(AgentDefinition::of(who).replies) {}

// An agent talks with a handful of peers in one session: a scan beats a map, and keeps their order.
Dialogue* PartyState::find(const ConversableAgent* peer) const noexcept {
  for (const auto& dialogue : dialogues) {
    if (peer == nullptr ? !dialogue->peer : dialogue->peer && *dialogue->peer == *peer) {
      return dialogue.get();
    }
  }
  return nullptr;
}

Dialogue& PartyState::with(const ConversableAgent* peer) {
  if (Dialogue* known = find(peer)) return *known;
  dialogues.push_back(std::make_unique<Dialogue>());
  if (peer != nullptr) dialogues.back()->peer = *peer;
  return *dialogues.back();
}

void PartyState::forget_all_but(std::size_t keep) {
  for (const auto& dialogue : dialogues) {
    MessageList kept;
    if (keep > 0 && !dialogue->history.empty()) {
      const MessageList& all = dialogue->history;
      std::size_t first = all.size() - std::min(keep, all.size());
      if (first > 0 && !(*all[first])->tool_responses.empty()) --first;
      kept.assign(all.begin() + static_cast<std::ptrdiff_t>(first), all.end());
    }
    dialogue->forget();
    dialogue->met = dialogue->met && keep > 0;
    dialogue->history = std::move(kept);
  }
}

std::vector<const PartyState*> Parties::by_name() const {
  std::vector<const PartyState*> all;
  for (const auto& [definition, state] : parties_) all.push_back(state.get());
  std::sort(all.begin(), all.end(), [](const PartyState* a, const PartyState* b) {
    return a->agent.name() < b->agent.name();
  });
  return all;
}

void Parties::forget(const ConversableAgent& agent) {
  parties_.erase(&AgentDefinition::of(agent));
  for (const auto& [definition, state] : parties_) {
    std::erase_if(state->dialogues,
                  [&](const auto& dialogue) { return dialogue->peer && *dialogue->peer == agent; });
  }
}

PartyState& Parties::operator[](const ConversableAgent& agent) {
  std::unique_ptr<PartyState>& state = parties_[&AgentDefinition::of(agent)];
  if (!state) state = std::make_unique<PartyState>(agent);
  return *state;
}

}  // namespace moderato
