#include <moderato/agents/workflow/workflow_shape.hpp>

#include <array>

namespace moderato {
namespace {
namespace shapes {

using Kind = WorkflowFieldKind;
using Count = WorkflowFieldCount;

extern const WorkflowShape condition;

constexpr std::array condition_fields{
    WorkflowField{"contains", Kind::words, "The text has these words"},
    WorkflowField{"equals", Kind::text, "The whole text"},
    WorkflowField{"ends_with", Kind::words, "The text ends so, spaces aside"},
    WorkflowField{"regex", Kind::words, "Found anywhere in the text (RE2)"},
    WorkflowField{
        .name = "said_by", .kind = Kind::agent, .about = "Who said it", .count = Count::list},
    WorkflowField{"tool_called", Kind::words, "A tool of this name is called"},
    WorkflowField{.name = "max_messages", .kind = Kind::whole, .about = "At least", .least = 0},
    WorkflowField{.name = "max_turns", .kind = Kind::whole, .about = "At least", .least = 0},
    WorkflowField{
        .name = "max_calls", .kind = Kind::whole, .about = "Model calls, at least", .least = 0},
    WorkflowField{
        .name = "token_budget",
        .kind = Kind::whole,
        .about = "Tokens used so far, at least; the bound of a workflow is its own token_budget",
        .least = 0},
    WorkflowField{.name = "elapsed_seconds",
                  .kind = Kind::number,
                  .about = "At least",
                  .least = 0,
                  .most = 1e9},
    WorkflowField{.name = "any",
                  .kind = Kind::object,
                  .about = "One of these holds",
                  .count = Count::list,
                  .shape = &condition},
    WorkflowField{.name = "all",
                  .kind = Kind::object,
                  .about = "All of these hold",
                  .count = Count::list,
                  .shape = &condition},
    WorkflowField{
        .name = "not", .kind = Kind::object, .about = "It does not hold", .shape = &condition},
};
constexpr WorkflowShape condition{"condition", condition_fields, true};

constexpr std::array limit_fields{
    WorkflowField{.name = "requests_per_minute", .kind = Kind::whole, .least = 0},
    WorkflowField{.name = "tokens_per_minute",
                  .kind = Kind::whole,
                  .about = "Input and output together",
                  .least = 0},
    WorkflowField{.name = "input_tokens_per_minute", .kind = Kind::whole, .least = 0},
    WorkflowField{.name = "output_tokens_per_minute", .kind = Kind::whole, .least = 0},
    WorkflowField{.name = "requests_per_day", .kind = Kind::whole, .least = 0},
    WorkflowField{.name = "tokens_per_day", .kind = Kind::whole, .least = 0},
    WorkflowField{
        .name = "max_in_flight", .kind = Kind::whole, .about = "Calls at once", .least = 0},
    WorkflowField{.name = "money_per_minute",
                  .kind = Kind::number,
                  .about = "In the unit of the model's price",
                  .least = 0,
                  .most = 1e9},
    WorkflowField{.name = "money_per_day", .kind = Kind::number, .least = 0, .most = 1e9},
    WorkflowField{"shared_host", Kind::words,
                  "A file in which the processes of this host share the quota"},
    WorkflowField{"redis", Kind::words, "URL of a Redis in which processes share the quota"},
    WorkflowField{"name", Kind::words, "Names the quota in Redis and in events"},
};
constexpr WorkflowShape limits{"limits", limit_fields};

constexpr std::array price_fields{
    WorkflowField{.name = "input_per_million", .kind = Kind::number, .required = true, .least = 0},
    WorkflowField{.name = "output_per_million", .kind = Kind::number, .required = true, .least = 0},
    WorkflowField{.name = "cached_input_per_million", .kind = Kind::number, .least = 0},
};
constexpr WorkflowShape price{"price", price_fields};

constexpr std::array sampling_fields{
    WorkflowField{.name = "temperature", .kind = Kind::number, .least = 0, .most = 2},
    WorkflowField{.name = "top_p", .kind = Kind::number, .least = 0, .most = 1},
    WorkflowField{.name = "seed", .kind = Kind::whole},
    WorkflowField{.name = "max_output_tokens",
                  .kind = Kind::whole,
                  .about = "Most tokens of a reply",
                  .least = 1},
    WorkflowField{"reasoning_effort", Kind::words, "As the provider knows it"},
    WorkflowField{.name = "stop", .kind = Kind::words, .about = "Stop texts", .count = Count::list},
    WorkflowField{"extra", Kind::any_value, "Further members of the request, sent as they are"},
};
constexpr WorkflowShape sampling{"sampling", sampling_fields};

constexpr std::array model_fields{
    WorkflowField{.name = "model",
                  .kind = Kind::words,
                  .about = "The model's name at its provider",
                  .required = true},
    WorkflowField{"base_url", Kind::words, "An endpoint with OpenAI's chat completions"},
    WorkflowField{"api_key_env", Kind::words, "The environment variable that holds the key"},
    WorkflowField{.name = "limits",
                  .kind = Kind::object,
                  .about = "The quota; left out: learnt from the provider",
                  .shape = &limits},
    WorkflowField{.name = "price", .kind = Kind::object, .about = "For cost", .shape = &price},
    WorkflowField{.name = "sampling",
                  .kind = Kind::object,
                  .about = "Settings of every call",
                  .shape = &sampling},
    WorkflowField{.name = "context_window",
                  .kind = Kind::whole,
                  .about = "Tokens of prompt and reply together",
                  .least = 1},
    WorkflowField{.name = "max_attempts",
                  .kind = Kind::whole,
                  .about = "Of a call that fails",
                  .least = 1,
                  .most = 20},
    WorkflowField{.name = "fallbacks",
                  .kind = Kind::model,
                  .about = "Asked in this order when the model has failed for good",
                  .count = Count::list},
};
constexpr WorkflowShape model{"model", model_fields};

constexpr std::array nested_step_fields{
    WorkflowField{.name = "to", .kind = Kind::agent, .about = "Who is asked", .required = true},
    WorkflowField{"message", Kind::text, "Left out: what the agent was told"},
    WorkflowField{.name = "max_turns", .kind = Kind::whole, .least = 1},
    WorkflowField{.name = "summary",
                  .kind = Kind::choice,
                  .about = "What is carried over",
                  .choices = "last_msg reflection_with_llm"},
};
constexpr WorkflowShape nested_step{"nested_chat", nested_step_fields};

constexpr std::array nested_fields{
    WorkflowField{.name = "when_from",
                  .kind = Kind::agent,
                  .about = "To whose messages it answers so",
                  .required = true},
    WorkflowField{.name = "chats",
                  .kind = Kind::object,
                  .about = "One after the other; the last one's summary is the answer",
                  .required = true,
                  .count = Count::list,
                  .shape = &nested_step},
};
constexpr WorkflowShape nested{"nested", nested_fields};

constexpr std::array agent_fields{
    WorkflowField{.name = "kind",
                  .kind = Kind::choice,
                  .about = "Left out: assistant",
                  .choices = "assistant user_proxy conversable"},
    WorkflowField{"system_message", Kind::text, ""},
    WorkflowField{"description", Kind::text, "For those who choose the next speaker"},
    WorkflowField{"model", Kind::model, "One of `models`"},
    WorkflowField{.name = "sampling", .kind = Kind::object, .shape = &sampling},
    WorkflowField{
        .name = "tools", .kind = Kind::tool, .about = "Some of `tools`", .count = Count::list},
    WorkflowField{.name = "handoffs",
                  .kind = Kind::agent,
                  .about = "To whom it can hand over, in a group with \"handoff\"",
                  .count = Count::list},
    WorkflowField{
        .name = "human_input_mode", .kind = Kind::choice, .choices = "always terminate never"},
    WorkflowField{.name = "max_consecutive_auto_reply",
                  .kind = Kind::whole,
                  .about = "Replies in a row to one peer",
                  .least = 0},
    WorkflowField{.name = "is_termination_msg",
                  .kind = Kind::object,
                  .about = "A message that ends the chat; left out: \"TERMINATE\"",
                  .shape = &condition},
    WorkflowField{"default_auto_reply", Kind::text, "Said when nothing else gives a reply"},
    WorkflowField{.name = "nested",
                  .kind = Kind::object,
                  .about = "It answers by asking others first",
                  .shape = &nested},
};
constexpr WorkflowShape agent{"agent", agent_fields};

constexpr WorkflowField who_begins{
    .name = "from", .kind = Kind::agent, .about = "Who begins", .required = true};
constexpr WorkflowField what_about{
    .name = "message", .kind = Kind::text, .about = "The task", .required = true};

constexpr std::array chat_fields{
    who_begins,
    what_about,
    WorkflowField{.name = "to", .kind = Kind::agent, .about = "Who answers", .required = true},
    WorkflowField{.name = "max_turns", .kind = Kind::whole, .least = 1},
    WorkflowField{
        .name = "summary", .kind = Kind::choice, .choices = "last_msg reflection_with_llm"},
};
constexpr WorkflowShape chat{"chat", chat_fields};

constexpr std::array step_fields{
    who_begins,
    what_about,
    WorkflowField{.name = "to", .kind = Kind::agent, .about = "Who answers", .required = true},
    WorkflowField{.name = "max_turns", .kind = Kind::whole, .least = 1},
    WorkflowField{.name = "summary",
                  .kind = Kind::choice,
                  .about = "What later chats are told",
                  .choices = "last_msg reflection_with_llm"},
    WorkflowField{"id", Kind::words, "Names the chat for others' `after`"},
    WorkflowField{
        .name = "after",
        .kind = Kind::words,
        .about = "Chats that must have ended before; with it, independent chats run at once",
        .count = Count::list},
};
constexpr WorkflowShape step{"step", step_fields};

constexpr std::array group_fields{
    who_begins,
    what_about,
    WorkflowField{.name = "agents", .kind = Kind::agent, .required = true, .count = Count::list},
    WorkflowField{"name", Kind::words, "Of the manager"},
    WorkflowField{"model", Kind::model, "Chooses the speakers"},
    WorkflowField{.name = "speaker_selection",
                  .kind = Kind::choice,
                  .choices = "auto manual random round_robin handoff"},
    WorkflowField{
        .name = "max_round", .kind = Kind::whole, .about = "Messages of one run", .least = 1},
    WorkflowField{
        .name = "max_turns", .kind = Kind::whole, .about = "Runs of the group", .least = 1},
    WorkflowField{"allow_repeat_speaker", Kind::boolean, ""},
    WorkflowField{.name = "transitions",
                  .kind = Kind::agent,
                  .about = "Who may follow whom",
                  .count = Count::map_of_lists},
    WorkflowField{"send_introductions", Kind::boolean, ""},
    WorkflowField{.name = "is_termination_msg", .kind = Kind::object, .shape = &condition},
};
constexpr WorkflowShape group{"group", group_fields};

constexpr std::array edge_fields{
    WorkflowField{.name = "from", .kind = Kind::agent, .required = true},
    WorkflowField{.name = "to", .kind = Kind::agent, .required = true},
    WorkflowField{.name = "when",
                  .kind = Kind::object,
                  .about = "Looks at what `from` said; left out: always",
                  .shape = &condition},
};
constexpr WorkflowShape edge{"edge", edge_fields};

constexpr std::array graph_fields{
    who_begins,
    what_about,
    WorkflowField{.name = "agents", .kind = Kind::agent, .required = true, .count = Count::list},
    WorkflowField{.name = "edges",
                  .kind = Kind::object,
                  .required = true,
                  .count = Count::list,
                  .shape = &edge},
    WorkflowField{"name", Kind::words, ""},
    WorkflowField{.name = "start",
                  .kind = Kind::agent,
                  .about = "Left out: everybody without an edge towards it",
                  .count = Count::list},
    WorkflowField{.name = "joins",
                  .kind = Kind::choice,
                  .about = "For every agent with several edges towards it",
                  .count = Count::map,
                  .choices = "all any"},
    WorkflowField{.name = "max_visits", .kind = Kind::whole, .about = "Of one agent", .least = 1},
    WorkflowField{.name = "max_steps", .kind = Kind::whole, .least = 1},
    WorkflowField{
        .name = "max_in_flight", .kind = Kind::whole, .about = "Agents at a time", .least = 1},
};
constexpr WorkflowShape graph{"graph", graph_fields};

constexpr std::array task_fields{
    WorkflowField{.name = "chat", .kind = Kind::object, .about = "Two agents talk", .shape = &chat},
    WorkflowField{.name = "group", .kind = Kind::object, .about = "A group chat", .shape = &group},
    WorkflowField{
        .name = "graph", .kind = Kind::object, .about = "A graph of agents", .shape = &graph},
    WorkflowField{.name = "sequence",
                  .kind = Kind::object,
                  .about = "Chats of which each is told what came of earlier ones",
                  .count = Count::list,
                  .shape = &step},
};
constexpr WorkflowShape task{"task", task_fields, true};

constexpr std::array workflow_fields{
    WorkflowField{"$schema", Kind::text, "Where the schema is; not looked at"},
    WorkflowField{.name = "workflow",
                  .kind = Kind::whole,
                  .about = "Version of this format: 1",
                  .required = true,
                  .least = 1,
                  .most = 1},
    WorkflowField{"name", Kind::words, ""},
    WorkflowField{"description", Kind::text, ""},
    WorkflowField{.name = "models",
                  .kind = Kind::object,
                  .about = "By names of your own",
                  .count = Count::map,
                  .shape = &model},
    WorkflowField{.name = "tools",
                  .kind = Kind::words,
                  .about = "Names of tools that the program which runs the file has to offer",
                  .count = Count::list},
    WorkflowField{.name = "agents",
                  .kind = Kind::object,
                  .about = "By their names",
                  .required = true,
                  .count = Count::map,
                  .shape = &agent},
    WorkflowField{.name = "task", .kind = Kind::object, .required = true, .shape = &task},
    WorkflowField{.name = "termination",
                  .kind = Kind::object,
                  .about = "Asked after every message and before every call",
                  .shape = &condition},
    WorkflowField{.name = "token_budget",
                  .kind = Kind::whole,
                  .about = "Tokens that all calls together never exceed",
                  .least = 1},
    WorkflowField{.name = "on_budget",
                  .kind = Kind::choice,
                  .about = "When the next call does not fit",
                  .choices = "stop final_answer"},
    WorkflowField{.name = "deadline_seconds",
                  .kind = Kind::number,
                  .about = "From the start of the run",
                  .least = 0,
                  .most = 1e9},
};
constexpr WorkflowShape workflow{"workflow", workflow_fields};

}  // namespace shapes
}  // namespace

const WorkflowShape& workflow_shape() noexcept {
  return shapes::workflow;
}

}  // namespace moderato
