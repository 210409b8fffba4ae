// Workflow files that are wrong, and what is said of them.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <moderato/agents/workflow/workflow.hpp>

namespace moderato {
namespace {

constexpr std::string_view good = R"({
  "workflow": 1,
  "models": {"small": {"model": "gpt-4o-mini", "api_key_env": "KEY",
                       "limits": {"requests_per_minute": 60}}},
  "tools": ["search"],
  "agents": {
    "writer": {"model": "small", "tools": ["search"]},
    "critic": {"model": "small", "human_input_mode": "never"},
    "user": {"kind": "user_proxy", "max_consecutive_auto_reply": 3}
  },
  "task": {"chat": {"from": "user", "to": "writer", "message": "Begin."}},
  "termination": {"any": [{"contains": "DONE"}, {"max_messages": 8}]},
  "token_budget": 5000
})";

std::string problems_in(std::string_view text) {
  const auto workflow = Workflow::parse(text);
  if (workflow) return "none";
  std::string all;
  for (const WorkflowProblem& problem : workflow.error()) {
    if (!all.empty()) all += '\n';
    all += fmt::format("{}:{}: {}", problem.line, problem.column, problem.text);
  }
  return all;
}

/// `good` with another text in place of one.
std::string changed(std::string_view from, std::string_view to) {
  std::string text(good);
  const std::size_t at = text.find(from);
  if (at == std::string::npos) return "the case changes nothing";
  return text.replace(at, from.size(), to);
}

constexpr std::string_view chat =
    R"("chat": {"from": "user", "to": "writer", "message": "Begin."})";

struct Case {
  std::string_view from;
  std::string_view to;
  std::string_view problems;
};

const Case cases[] = {
    {R"("workflow": 1,)", R"("workflow": 1)",
     "3:10: this is no JSON: syntax error while parsing object - unexpected string literal; "
     "expected '}'"},
    {R"("token_budget": 5000
})",
     R"("token_budget": 5000,
})",
     "14:1: this is no JSON: syntax error while parsing object key - unexpected '}'; expected "
     "string literal"},
    {R"("workflow": 1,)", R"("workflow": 1.5,)",
     "2:15: workflow must be a whole number, it is a number that is not whole"},
    {R"("workflow": 1,)", R"("workflow": 2,)", "2:15: workflow must be at most 1, it is 2"},
    {R"("workflow": 1,)", R"("workflow": "1",)",
     "2:15: workflow must be a whole number, it is a text"},
    {R"(  "workflow": 1,
)",
     "", R"(1:1: the workflow: "workflow" is missing)"},
    {R"("workflow": 1,)", R"("workflow": 1, "workflow": 1,)", "2:18: workflow is given twice"},
    {R"("token_budget")", R"("token_bugdet")",
     R"(13:3: token_bugdet is not known; did you mean "token_budget"?)"},
    {"5000", "0", "13:19: token_budget must be at least 1, it is 0"},
    {"5000", R"("many")", "13:19: token_budget must be a whole number, it is a text"},
    {"5000", "1e3", "13:19: token_budget must be a whole number, it is a number that is not whole"},
    {"5000", "null", "13:19: token_budget must be a whole number, it is null"},
    {R"("token_budget": 5000)", R"("on_budget": "panic")",
     R"(13:16: on_budget: "panic" is not known; there are stop, final_answer)"},
    {R"("token_budget": 5000)", R"("on_budget": "final-answer")",
     R"(13:16: on_budget: "final-answer" is not known; did you mean "final_answer"?)"},
    {R"("token_budget": 5000)", R"("deadline_seconds": -1)",
     "13:23: deadline_seconds must be at least 0, it is -1"},
    {R"("token_budget": 5000)", R"("name": "")", "13:11: name must not be empty"},
    {R"("model": "gpt-4o-mini")", R"("modell": "gpt-4o-mini")",
     R"(3:23: models.small: "model" is missing
3:24: models.small.modell is not known; did you mean "model"?)"},
    {R"("model": "gpt-4o-mini", )", "", R"(3:23: models.small: "model" is missing)"},
    {R"("model": "gpt-4o-mini")", R"("model": "")", "3:33: models.small.model must not be empty"},
    {R"("api_key_env": "KEY")", R"("api_key": "sk-secret")",
     R"(3:48: models.small.api_key: a key does not belong into a file; put it into an environment variable, and the variable's name into "api_key_env")"},
    {R"("api_key_env": "KEY")", R"("price": {"input_per_million": 1})",
     R"(3:57: models.small.price: "output_per_million" is missing)"},
    {R"("api_key_env": "KEY")", R"("sampling": {"temperature": 3})",
     "3:76: models.small.sampling.temperature must be at most 2, it is 3"},
    {R"("api_key_env": "KEY")", R"("sampling": {"max_output_tokens": 0})",
     "3:82: models.small.sampling.max_output_tokens must be at least 1, it is 0"},
    {R"("api_key_env": "KEY")", R"("sampling": {"temprature": 1})",
     R"(3:61: models.small.sampling.temprature is not known; did you mean "temperature"?)"},
    {R"("api_key_env": "KEY")", R"("sampling": {"stop": "END"})",
     "3:69: models.small.sampling.stop must be a list, it is a text"},
    {R"("api_key_env": "KEY")", R"("sampling": {"extra": 7})",
     "3:70: models.small.sampling.extra must be an object, it is a number"},
    {R"("api_key_env": "KEY")", R"("max_attempts": 0)",
     "3:64: models.small.max_attempts must be at least 1, it is 0"},
    {R"("api_key_env": "KEY")", R"("fallbacks": ["large"])",
     R"(3:62: models.small.fallbacks[0]: no model is called "large"; there are small)"},
    {R"("api_key_env": "KEY")", R"("fallbacks": ["small"])",
     R"(3:23: the fallbacks of model "small" lead back to it)"},
    {R"("requests_per_minute": 60)", R"("requests_per_minute": -60)",
     "4:58: models.small.limits.requests_per_minute must be at least 0, it is -60"},
    {R"("requests_per_minute": 60)", R"("request_per_minute": 60)",
     R"(4:35: models.small.limits.request_per_minute is not known; did you mean "requests_per_minute"?)"},
    {R"("requests_per_minute": 60)",
     R"("requests_per_minute": 60, "shared_host": "/tmp/q", "redis": "redis://h")",
     "3:23: limits: a quota is shared by shared_host or by redis"},
    {R"({"requests_per_minute": 60})", "60",
     "4:34: models.small.limits must be an object, it is a number"},
    {R"("tools": ["search"],
)",
     R"("tools": "search",
)",
     R"(5:12: tools must be a list, it is a text
7:44: agents.writer.tools[0]: no tool is called "search"; the file has none)"},
    {R"("tools": ["search"],
)",
     R"("tools": [],
)",
     R"(7:44: agents.writer.tools[0]: no tool is called "search"; the file has none)"},
    {R"("tools": ["search"],
)",
     R"("tools": ["search", "search"],
)",
     R"(5:23: tools: "search" is named twice)"},
    {R"("tools": ["search"],
)",
     R"("tools": ["look up"],
)",
     R"(7:44: agents.writer.tools[0]: no tool is called "search"; there are look up)"},
    {R"("writer": {"model": "small")", R"("writer": {"model": "smal")",
     R"(7:25: agents.writer.model: no model is called "smal"; did you mean "small"?)"},
    {R"("writer": {"model": "small", "tools": ["search"]})", R"("writer": {"tools": ["search"]})",
     R"(7:15: agents.writer: an assistant needs a "model")"},
    {R"("writer": {"model": "small")", R"("": {"model": "small")",
     R"(7:9: agents: a name must not be empty
11:43: task.chat.to: no agent is called "writer"; there are critic, user)"},
    {R"("human_input_mode": "never")", R"("human_input_mode": "nevr")",
     R"(8:54: agents.critic.human_input_mode: "nevr" is not known; did you mean "never"?)"},
    {R"("human_input_mode": "never")", R"("human_input_mode": true)",
     "8:54: agents.critic.human_input_mode must be a text, it is true or false"},
    {R"("kind": "user_proxy")", R"("kind": "proxy")",
     R"(9:22: agents.user.kind: "proxy" is not known; there are assistant, user_proxy, conversable)"},
    {R"("max_consecutive_auto_reply": 3)", R"("max_consecutive_auto_reply": -3)",
     "9:66: agents.user.max_consecutive_auto_reply must be at least 0, it is -3"},
    {R"("max_consecutive_auto_reply": 3)", R"("is_termination_msg": "TERMINATE")",
     "9:58: agents.user.is_termination_msg must be an object, it is a text"},
    {R"("max_consecutive_auto_reply": 3)", R"("is_termination_msg": {"regex": "("})",
     R"(9:58: the pattern "(" is wrong: missing ): ()"},
    {R"("max_consecutive_auto_reply": 3)", R"("nested": {"when_from": "writer", "chats": []})",
     "9:79: agents.user.nested.chats is empty"},
    {R"("max_consecutive_auto_reply": 3)",
     R"("nested": {"when_from": "writer", "chats": [{"to": "user"}]})",
     R"(9:13: the nested chats of "user" lead back to it)"},
    {R"("agents": {)", R"("agents": [], "x": {)",
     R"(6:13: agents must be an object, it is a list
6:17: x is not known; there are $schema, workflow, name, description, models, tools, agents, task, termination, token_budget, on_budget, deadline_seconds
11:29: task.chat.from: no agent is called "user"; the file has none
11:43: task.chat.to: no agent is called "writer"; the file has none)"},
    {R"("from": "user")", R"("from": "usr")",
     R"(11:29: task.chat.from: no agent is called "usr"; did you mean "user"?)"},
    {R"("to": "writer")", R"("to": "user")",
     R"(11:43: task.chat.to: "user" cannot talk to itself)"},
    {R"(, "message": "Begin.")", "", R"(11:20: task.chat: "message" is missing)"},
    {chat, "", "11:11: task must have exactly one of chat, group, graph, sequence, it has 0"},
    {chat, R"("chats": {})", R"(11:12: task.chats is not known; did you mean "chat"?)"},
    {chat, R"("chat": {"from": "user", "to": "writer", "message": "Begin."}, "graph": {})",
     R"(11:11: task must have exactly one of chat, group, graph, sequence, it has 2
11:84: task.graph: "from" is missing
11:84: task.graph: "message" is missing
11:84: task.graph: "agents" is missing
11:84: task.graph: "edges" is missing)"},
    {chat, R"("sequence": [])", "11:24: task.sequence is empty"},
    {chat,
     R"("sequence": [{"from": "user", "to": "writer", "message": "a", "id": "a", "after": ["b"]}])",
     R"(11:24: initiate_chats: chat "a" waits for "b", which is not in the queue)"},
    {chat,
     R"("sequence": [{"from": "user", "to": "writer", "message": "a", "id": "a", "after": ["a"]}])",
     R"(11:24: initiate_chats: these chats wait for each other: "a")"},
    {chat, R"("group": {"from": "user", "message": "m", "agents": []})",
     "11:64: task.group.agents is empty"},
    {chat, R"("group": {"from": "user", "message": "m", "agents": ["writer", "writer"]})",
     R"(11:75: task.group.agents: "writer" is named twice)"},
    {chat, R"("group": {"from": "user", "message": "m", "agents": ["writer", "critc"]})",
     R"(11:75: task.group.agents[1]: no agent is called "critc"; did you mean "critic"?)"},
    {chat,
     R"("group": {"from": "user", "message": "m", "agents": ["writer", "critic"], "speaker_selection": "roundrobin"})",
     R"(11:107: task.group.speaker_selection: "roundrobin" is not known; did you mean "round_robin"?)"},
    {chat,
     R"("group": {"from": "user", "message": "m", "agents": ["writer", "critic"], "transitions": {"writer": "critic"}})",
     "11:112: task.group.transitions.writer must be a list, it is a text"},
    {chat,
     R"("group": {"from": "user", "message": "m", "agents": ["writer", "critic"], "transitions": {"writer": ["user"]}})",
     R"(11:21: GroupChat: the transitions of writer names "user", who is no participant)"},
    {chat,
     R"("graph": {"from": "user", "message": "m", "agents": ["writer", "critic"], "edges": [{"from": "writer", "to": "critic"}, {"from": "critic", "to": "writer"}]})",
     R"(11:21: graph "graph": every agent waits for another: name one in `start`)"},
    {chat,
     R"("graph": {"from": "user", "message": "m", "agents": ["writer", "critic"], "edges": [{"from": "writer", "to": "writer"}]})",
     R"(11:21: graph "graph": these agents are never reached: writer)"},
    {chat,
     R"("graph": {"from": "user", "message": "m", "agents": ["writer", "critic"], "edges": [{"from": "writer", "to": "critic"}], "joins": {"critic": "some"}})",
     R"(11:153: task.graph.joins.critic: "some" is not known; there are all, any)"},
    {chat,
     R"("graph": {"from": "user", "message": "m", "agents": ["writer", "critic"], "edges": [{"from": "writer", "to": "critic", "when": {"regex": "["}}]})",
     R"(11:139: the pattern "[" is wrong: missing ]: [)"},
    {R"({"any": [{"contains": "DONE"}, {"max_messages": 8}]})", R"({"any": []})",
     "12:26: termination.any is empty"},
    {R"({"contains": "DONE"})", R"({"contain": "DONE"})",
     R"(12:28: termination.any[0].contain is not known; did you mean "contains"?)"},
    {R"({"contains": "DONE"})", R"({"contains": "DONE", "max_turns": 3})",
     "12:27: termination.any[0] must have exactly one of contains, equals, ends_with, regex, "
     "said_by, tool_called, max_messages, max_turns, max_calls, token_budget, elapsed_seconds, "
     "any, all, not, it has 2"},
    {R"({"contains": "DONE"})", "{}",
     "12:27: termination.any[0] must have exactly one of contains, equals, ends_with, regex, "
     "said_by, tool_called, max_messages, max_turns, max_calls, token_budget, elapsed_seconds, "
     "any, all, not, it has 0"},
    {R"({"max_messages": 8})", R"({"max_messages": "8"})",
     "12:66: termination.any[1].max_messages must be a whole number, it is a text"},
    {R"({"max_messages": 8})", R"({"said_by": "critic"})",
     "12:61: termination.any[1].said_by must be a list, it is a text"},
    {R"({"max_messages": 8})", R"({"said_by": ["kritic"]})",
     R"(12:62: termination.any[1].said_by[0]: no agent is called "kritic"; did you mean "critic"?)"},
};

}  // namespace

TEST_CASE("a workflow file without mistakes has no problems") {
  CHECK(problems_in(good) == "none");
}

TEST_CASE(
    "each mistake in a workflow file is told with its place and, where there is one, a way out") {
  for (const Case& wrong : cases) {
    CAPTURE(wrong.from);
    CAPTURE(wrong.to);
    CHECK(problems_in(changed(wrong.from, wrong.to)) == wrong.problems);
  }
}

TEST_CASE("all mistakes are told at once, in the order of the file") {
  CHECK(problems_in(R"({"workflow": 2,
  "agents": {"a": {"modle": "m"}},
  "task": {"chat": {"from": "b"}}})") ==
        R"(1:14: workflow must be at most 1, it is 2
2:20: agents.a.modle is not known; did you mean "model"?
3:20: task.chat: "message" is missing
3:20: task.chat: "to" is missing
3:29: task.chat.from: no agent is called "b"; there are a)");
}

}  // namespace moderato
