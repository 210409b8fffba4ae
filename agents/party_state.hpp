#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <moderato/agents/agent_definition.hpp>
#include <moderato/agents/conversable_agent.hpp>
#include <moderato/agents/reply_function.hpp>

namespace moderato {

/// One agent's side of its talk with one peer.
struct Dialogue {
  std::optional<ConversableAgent> peer{};  ///< nullopt: messages that nobody sent.
  bool met = false;                        ///< A history has been begun (it may be empty).
  MessageList history{};
  bool reply_at_receive = false;
  std::int64_t auto_replies = 0;
  std::optional<std::int64_t> cap{};  ///< Only for this peer.
  /// What a model is sent: the system message and history[0 .. prepared), tool answers unrolled.
  /// Kept from turn to turn, so that a turn costs what it adds.
  MessageList prompt{};
  std::size_t prepared = 0;
  PromptMemory memory{};  ///< Of `prompt`.

  void add(MessagePtr message) {
    met = true;
    history.push_back(std::move(message));
  }
  /// Another message in place of the newest one.
  void replace_newest(MessagePtr message) {
    history.back() = std::move(message);
    if (prepared == history.size()) {
      prompt.clear();
      prepared = 0;
    }
  }
  void forget() {
    history.clear();
    prompt.clear();
    prepared = 0;
    memory = {};
  }
};

/// What changes about an agent in a session.
struct PartyState {
  explicit PartyState(const ConversableAgent& who);

  ConversableAgent agent;
  MessagePtr system;
  std::int64_t cap;
  std::vector<ReplySlot> replies;
  std::vector<std::string> human_inputs{};
  /// Rough tokens of a prompt that the model's context window holds, learnt from a refusal.
  std::optional<std::int64_t> prompt_room{};
  /// In the order in which the peers were met; references stay valid.
  std::vector<std::unique_ptr<Dialogue>> dialogues{};

  /// The dialogue with a peer (null: nobody), made at first use.
  Dialogue& with(const ConversableAgent* peer);
  /// Null if there is none yet.
  [[nodiscard]] Dialogue* find(const ConversableAgent* peer) const noexcept;
  /// Forgets everything but the newest `keep` messages of each talk, and the call that the oldest
  /// of them answers.
  void forget_all_but(std::size_t keep);
  [[nodiscard]] std::int64_t cap_for(const Dialogue& dialogue) const noexcept {
    return dialogue.cap.value_or(cap);
  }
};

/// All agents of a session: session.part<Parties>().
class Parties {
 public:
  /// The state of an agent, made at first use; the reference stays valid.
  PartyState& operator[](const ConversableAgent& agent);
  /// An agent that was here for one task only: its state, and everybody's talk with it, are gone.
  void forget(const ConversableAgent& agent);
  /// All of them, in the order of their names.
  [[nodiscard]] std::vector<const PartyState*> by_name() const;

 private:
  std::unordered_map<const AgentDefinition*, std::unique_ptr<PartyState>> parties_;
};

}  // namespace moderato
