#include <moderato/agents/conversable_agent.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>

#include <moderato/agents/agent_definition.hpp>
#include <moderato/agents/chat.hpp>

namespace moderato {
namespace {

void require(bool holds, const std::string& otherwise) {
  if (!holds) throw std::invalid_argument(otherwise);
}

// Of two tools with one name the later counts, at the later's place.
ToolList offered_tools(const std::vector<Tool>& tools) {
  if (tools.empty()) return nullptr;
  std::vector<ToolDefinition> definitions;
  for (const Tool& tool : tools) {
    std::erase_if(definitions, [&](const ToolDefinition& earlier) {
      return earlier.name == tool.definition().name;
    });
    definitions.push_back(tool.definition());
  }
  return std::make_shared<const std::vector<ToolDefinition>>(std::move(definitions));
}

const Tool* last_named(const std::vector<Tool>& tools, std::string_view name) noexcept {
  const auto found = std::find_if(tools.rbegin(), tools.rend(),
                                  [&](const Tool& tool) { return tool.definition().name == name; });
  return found != tools.rend() ? &*found : nullptr;
}

// A model of the agent, or of somebody who speaks behind it; null if there is none.
Runtime* model_runtime(const ConversableAgent& agent) {
  if (agent.model()) return &agent.model().runtime();
  for (const ConversableAgent& member : AgentDefinition::of(agent).inside.members) {
    if (Runtime* runtime = model_runtime(member)) return runtime;
  }
  return nullptr;
}

void check_models(const ConversableAgent& agent, const Runtime* runtime) {
  require(!agent.model() || &agent.model().runtime() == runtime,
          fmt::format("the model of {} lives on another runtime than the chat", agent.name()));
  for (const ConversableAgent& member : AgentDefinition::of(agent).inside.members) {
    check_models(member, runtime);
  }
}

}  // namespace

Runtime* runtime_of(const ConversableAgent& sender, const ConversableAgent& recipient) {
  Runtime* runtime = model_runtime(sender);
  if (runtime == nullptr) runtime = model_runtime(recipient);
  return runtime != nullptr ? runtime : Runtime::current();
}

void check_chat(const ConversableAgent& sender, const ConversableAgent& recipient,
                const ChatOptions& options) {
  require(sender != recipient, fmt::format("{} cannot chat with itself", sender.name()));
  Runtime* runtime =
      options.session != nullptr ? &options.session->runtime() : runtime_of(sender, recipient);
  for (const ConversableAgent* side : {&sender, &recipient}) check_models(*side, runtime);
  require(options.summary_method.reflection() == nullptr || sender.model() || recipient.model(),
          "reflection_with_llm needs a model on either side");
  require(options.max_messages >= 1, "max_messages must be at least 1");
  require(options.token_budget.value_or(0) >= 0, "token_budget must not be negative");
  require(options.on_budget != OnBudget::final_answer || options.token_budget,
          "on_budget = final_answer needs a token_budget, of which it sets tokens aside");
  const std::int64_t reserve = options.final_answer_reserve.value_or(0);
  require(reserve >= 0 && reserve <= options.token_budget.value_or(reserve),
          "final_answer_reserve must lie between 0 and token_budget");
  require(!options.shared_budget || options.session == nullptr ||
              !options.session->options().budget ||
              options.session->options().budget == options.shared_budget,
          "the session has a budget already: give the chat no other shared_budget");
}

Condition default_termination_message() {
  return equals("TERMINATE");
}

AgentDefinition::AgentDefinition(AgentKind made_as, ConversableOptions settings, AgentInside who)
    : kind(made_as),
      options(std::move(settings)),
      offered(offered_tools(options.tools)),
      system(store(Message::system(options.system_message))),
      replies(built_in_replies(options.code_execution.executor != nullptr)),
      inside(std::move(who)) {
  require(!options.name.empty(), "an agent needs a name");
  require(options.max_consecutive_auto_reply >= 0,
          fmt::format("{}: max_consecutive_auto_reply must not be negative", options.name));
  require(options.max_parallel_tools >= 1,
          fmt::format("{}: max_parallel_tools must be at least 1", options.name));
  require(
      !options.default_auto_reply || !options.default_auto_reply->is_null(),
      fmt::format("{}: for no default reply give default_auto_reply = std::nullopt", options.name));
  if (options.description.empty()) options.description = options.system_message;
  for (const ReplyRegistration& registration : options.replies) insert_reply(replies, registration);
}

const Tool* AgentDefinition::runnable(std::string_view name) const noexcept {
  const Tool* tool = last_named(options.runs, name);
  return tool != nullptr ? tool : offered_tool(name);
}

const Tool* AgentDefinition::offered_tool(std::string_view name) const noexcept {
  return last_named(options.tools, name);
}

ConversableAgent::ConversableAgent(ConversableOptions options)
    : ConversableAgent(AgentKind::conversable, std::move(options)) {}

ConversableAgent::ConversableAgent(AgentKind kind, ConversableOptions options)
    : ConversableAgent(kind, std::move(options), AgentInside()) {}

ConversableAgent::ConversableAgent(AgentKind kind, ConversableOptions options, AgentInside inside)
    : definition_(
          std::make_shared<const AgentDefinition>(kind, std::move(options), std::move(inside))) {}

const std::string& ConversableAgent::name() const noexcept {
  return definition_->options.name;
}
const std::string& ConversableAgent::description() const noexcept {
  return definition_->options.description;
}
const Model& ConversableAgent::model() const noexcept {
  return definition_->options.model;
}
AgentKind ConversableAgent::kind() const noexcept {
  return definition_->kind;
}
const ConversableOptions& ConversableAgent::options() const noexcept {
  return definition_->options;
}

ChatResult ConversableAgent::initiate_chat(const ConversableAgent& recipient, ChatMessage message,
                                           ChatOptions options) const {
  check_chat(*this, recipient, options);
  if (options.session != nullptr) {
    return options.session->runtime().block_on(
        [&] { return run_chat(*options.session, *this, recipient, message, options); });
  }
  std::optional<Runtime> own;
  Runtime* runtime = runtime_of(*this, recipient);
  if (runtime == nullptr) runtime = &own.emplace();
  return runtime->block_on([&] {
    Session session(*runtime, {.tenant = options.tenant});
    return run_chat(session, *this, recipient, message, options);
  });
}

}  // namespace moderato
