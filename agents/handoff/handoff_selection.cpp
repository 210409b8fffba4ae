// Swarm: one agent is at work at a time. It says something, or calls tools; it runs its own tools
// and goes on after their results, until a result hands the work over to another. A person (or any
// other participant) who says something in between does not change who is at work.
//
//   message of                        next speaker
//   the one at work, calling tools    the same (it runs them); else who can run them
//   … with results                    whom the first handoff among them names, else the caller
//   … text                            as AfterWork says
//   anybody else                      the one at work; at first the first participant who is not
//                                     speaking now
#include <fmt/core.h>

#include <algorithm>

#include <moderato/agents/group/speaker_selection.hpp>
#include <moderato/agents/handoff/handoff.hpp>

namespace moderato {
namespace {

bool can_run_all(const ConversableAgent& agent, const Message& message) {
  const auto& definition = AgentDefinition::of(agent);
  const auto runs = [&](const std::string& name) {
    const Tool* tool = definition.runnable(name);
    return tool != nullptr && tool->has_function();
  };
  return (!message.function_call || runs(message.function_call->name)) &&
         std::all_of(message.tool_calls.begin(), message.tool_calls.end(),
                     [&](const ToolCall& call) { return runs(call.name); });
}

std::vector<std::string> results_in(const Message& message) {
  std::vector<std::string> results;
  for (const ToolResponse& response : message.tool_responses) results.push_back(response.content);
  if (results.empty() && message.role == Role::function) results.push_back(message.text());
  return results;
}

class HandoffChoice {
 public:
  HandoffChoice(const SelectionScene& scene, const ByHandoff& options)
      : scene_(scene), options_(options), last_(**scene.state.messages.back()) {}

  Chosen choose() {
    if (last_.has_calls()) return runs_the_calls();
    const std::vector<std::string> results = results_in(last_);
    if (!results.empty()) return after_results(results);
    if (scene_.last_speaker.name() != active()) return {.speaker = at_work(), .method = "at work"};
    switch (options_.after_work) {
      case AfterWork::end:
        return {};
      case AfterWork::stay:
        return {.speaker = at_work(), .method = "stays at work"};
      case AfterWork::revert:
        return {.speaker = scene_.group.chat.agents.front(), .method = "revert"};
    }
    return {};
  }

 private:
  const std::string& active() {
    std::string& name = scene_.state.active;
    if (scene_.group.participant(name) == nullptr) {
      const auto& agents = scene_.group.chat.agents;
      const auto first = std::find_if(agents.begin(), agents.end(), [&](const auto& agent) {
        return agent != scene_.last_speaker;
      });
      name = first != agents.end() ? first->name() : agents.front().name();
    }
    return name;
  }
  ConversableAgent at_work() { return *scene_.group.participant(active()); }

  Chosen runs_the_calls() {
    const auto& agents = scene_.group.chat.agents;
    if (scene_.group.has(scene_.last_speaker) && can_run_all(scene_.last_speaker, last_)) {
      return {.speaker = scene_.last_speaker, .method = "runs its tools"};
    }
    const auto other = std::find_if(agents.begin(), agents.end(),
                                    [&](const auto& agent) { return can_run_all(agent, last_); });
    if (other != agents.end()) return {.speaker = *other, .method = "runs the tools"};
    return {.speaker = at_work(), .method = "is told that nobody has the tool"};
  }

  Chosen after_results(const std::vector<std::string>& results) {
    std::optional<Handoff> handoff;
    for (const std::string& result : results) {
      auto found = handoff_in(result);
      if (!found) continue;
      if (!handoff) {
        handoff = std::move(found);
      } else if (found->handoff_to != handoff->handoff_to) {
        scene_.chat.notify([&] {
          return Warning{fmt::format("{}: handed over to {} and to {} at once; the first counts",
                                     scene_.manager.name(), handoff->handoff_to,
                                     found->handoff_to)};
        });
      }
    }
    if (!handoff) return {.speaker = at_work(), .method = "goes on after its tools"};
    const ConversableAgent* next = scene_.group.participant(handoff->handoff_to);
    if (next == nullptr) {
      return failed_choice(stop_from(
          Error{.code = ErrorCode::invalid_request,
                .message = fmt::format("{} handed over to \"{}\", who is no participant; there "
                                       "are {}",
                                       active(), handoff->handoff_to,
                                       name_list(scene_.group.chat.agents))},
          scene_.manager.name(), StopReason::tool_error));
    }
    scene_.state.active = next->name();
    return {.speaker = *next, .method = "handoff"};
  }

  const SelectionScene& scene_;
  const ByHandoff& options_;
  const Message& last_;
};

}  // namespace

Chosen select_by_handoff(const SelectionScene& scene, const ByHandoff& options) {
  return HandoffChoice(scene, options).choose();
}

}  // namespace moderato
