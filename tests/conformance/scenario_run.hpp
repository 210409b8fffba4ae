#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <moderato/agents/group/group_chat_manager.hpp>
#include <moderato/agents/party.hpp>
#include <moderato/agents/sequence/initiate_chats.hpp>
#include <moderato/agents/sequence/nested_chats.hpp>
#include <moderato/core/simulation.hpp>

#include "recorder.hpp"
#include "scenario.hpp"

namespace moderato::conformance {

/// An action that failed, as `expect.error` has it.
struct Raised {
  std::string kind;
  std::string category{};
};

/// One scenario while it runs.
class Scenario {
 public:
  explicit Scenario(const Value& scenario);
  ScenarioRun run();

 private:
  const ConversableAgent& agent(const Value& name) const {
    return agents_.at(name.get<std::string>());
  }
  Party party(const Value& name) { return Party(*session_, agent(name)); }

  Value act(const Value& action);
  // scenario_chats.cpp
  Value initiate_chat(const Value& action);
  Value initiate_chats(const Value& action);
  void register_nested_chats(const Value& action);
  Value save_group(const Value& action);
  Value resume(const Value& action);
  ChatOptions chat_options(const Value& action) const;
  std::vector<QueuedChat> queued_chats(const Value& queue, bool nested) const;
  void chat_began(const ChatStarted& event);
  void chat_ended(const ChatResult& result);
  void check_summary(const ChatResult& result) const;
  Value recorded_end(const ChatResult& result, const std::string& sender,
                     const std::string& recipient);
  const GroupChatManager* manager(const std::string& name) const;
  // scenario.cpp
  void send(const Value& action);
  Value generate_reply(const Value& action);
  Value execute_function(const Value& action);
  void register_reply(const Value& action);
  Value last_message(const Value& action);

  ChatMessage chat_message(const Value& action) const;
  Carryover carryover(const Value& action) const;
  SummaryMethod summary_method(const Value& action) const;
  Trigger trigger(const Value& value) const;
  Raised raised(const Error& error) const;
  Value state();

  const Value& scenario_;
  std::shared_ptr<Recorder> recorder_ = std::make_shared<Recorder>();
  std::stop_source interrupt_;
  Simulation world_;
  std::unique_ptr<Session> session_;
  std::map<std::string, ConversableAgent> agents_;
  std::map<std::string, GroupChatManager> managers_;
  std::map<std::string, Value> saved_groups_;
  Value chats_ = Value::array();
  std::vector<std::size_t> open_chats_;                 // indexes in chats_, the innermost last
  std::vector<std::optional<std::int64_t>> max_turns_;  // of each of chats_
  Value fixed_ = Value::array();
};

}  // namespace moderato::conformance
