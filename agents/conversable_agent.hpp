#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <moderato/agents/carryover.hpp>
#include <moderato/agents/chat_options.hpp>
#include <moderato/agents/chat_result.hpp>
#include <moderato/agents/code_execution/code_executor.hpp>
#include <moderato/agents/human_input.hpp>
#include <moderato/agents/reply_function.hpp>
#include <moderato/agents/tool.hpp>
#include <moderato/agents/transforms/transform.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/llm/request.hpp>
#include <moderato/termination/condition.hpp>

namespace moderato {

/// is_termination_msg unless you say otherwise: the text is exactly "TERMINATE".
[[nodiscard]] Condition default_termination_message();

/// Settings of a ConversableAgent. AssistantOptions and UserProxyOptions have the same fields with
/// other defaults.
struct ConversableOptions {
  std::string name{};  ///< Required.
  std::string system_message = "You are a helpful assistant.";
  /// For those who choose the next speaker; empty: the system message.
  std::string description{};
  Model model{};  ///< None: the agent answers with tools, its human, or `default_auto_reply`.
  Sampling sampling{};
  /// What the agent's model may ask for. Whoever receives the call runs it: with its own tool of
  /// that name if it has one, else with this one. Of two with one name the later counts.
  std::vector<Tool> tools{};
  HumanInputMode human_input_mode = HumanInputMode::terminate;
  /// Automatic replies in a row to one peer before the agent stops (mode never) or asks its human
  /// (mode terminate). AutoGen has 100.
  std::int64_t max_consecutive_auto_reply = 10;
  /// Looked at on every message that this agent receives: true ends the chat, or asks the human.
  Condition is_termination_msg = default_termination_message();
  /// Said when nothing else gives a reply; nullopt: no reply, which ends the chat.
  std::optional<Content> default_auto_reply = Content("");
  HumanInput human_input{};  ///< The console unless you say otherwise.
  /// Tools that this agent runs for others and does not offer to its own model.
  std::vector<Tool> runs{};
  std::vector<ReplyRegistration> replies{};
  Hooks hooks{};
  /// Tool calls of one message that this agent runs at a time; 1: one after the other, as a later
  /// one may rely on what an earlier one did. Answers keep the order of the calls.
  std::size_t max_parallel_tools = 1;
  /// Change what this agent is shown of its conversations, in order, after the hooks.
  std::vector<Transform> transforms{};
  /// Runs the code in messages it receives. AutoGen's user proxy does so unless told otherwise;
  /// here it is asked for: `{.executor = command_line_executor()}`, which is sandboxed.
  CodeExecution code_execution{};
  /// Fills `{name}` in texts from the `context` of the last message before a model call.
  bool allow_format_str_template = false;
};

/// Which class an agent was made as. A `team` is one behind which others speak.
enum class AgentKind : std::uint8_t {
  conversable,
  assistant,
  user_proxy,
  group_chat_manager,
  team
};

struct AgentInside;
struct GroupDefinition;

/// Somebody who can take part in a conversation. An immutable definition behind a cheap handle:
/// copy it freely, use it in thousands of conversations at once and from any thread. All that
/// changes in a conversation lives in its Session; see Party for what can be changed there.
class ConversableAgent {
 public:
  /// Throws std::invalid_argument: no name, a negative cap, a default reply with null content.
  explicit ConversableAgent(ConversableOptions options);

  [[nodiscard]] const std::string& name() const noexcept;
  [[nodiscard]] const std::string& description() const noexcept;
  [[nodiscard]] const Model& model() const noexcept;
  [[nodiscard]] AgentKind kind() const noexcept;
  [[nodiscard]] const ConversableOptions& options() const noexcept;

  /// Says `message` to `recipient` and lets the two talk until one of them, a bound or a failure
  /// ends it; blocks the thread or suspends the fiber. The result says why it ended. Runs on the
  /// session's runtime, else on that of a model of either side, else on the current one, else on
  /// one of its own.
  ///
  /// Throws only for misuse: std::invalid_argument for a chat with oneself, models of different
  /// runtimes, a reflection without a model, a negative budget, or a session budget together with
  /// another shared one. Everything that fails later is in `ChatResult::stop`.
  ChatResult initiate_chat(const ConversableAgent& recipient, ChatMessage message,
                           ChatOptions options = {}) const;

  /// Two handles of the same definition.
  friend bool operator==(const ConversableAgent& a, const ConversableAgent& b) noexcept {
    return a.definition_ == b.definition_;
  }

 protected:
  ConversableAgent(AgentKind kind, ConversableOptions options);
  ConversableAgent(AgentKind kind, ConversableOptions options, AgentInside inside);

 private:
  friend struct AgentDefinition;
  std::shared_ptr<const struct AgentDefinition> definition_;
};

/// Who speaks behind an agent that stands for others; empty for an ordinary agent. For the
/// library's own classes.
struct AgentInside {
  std::vector<ConversableAgent> members{};
  std::shared_ptr<const GroupDefinition> group{};  ///< Of a GroupChatManager.
};

}  // namespace moderato
