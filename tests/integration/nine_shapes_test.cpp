// The nine shapes in which AutoGen 0.4's TokenUsageTermination sees 0 to 100 % of what is billed,
// and its caps are passed. Here the budget sees all of it in each, and no call goes over a cap, in
// one run or in many with a save and a load between them.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <moderato/llm/providers/simulated.hpp>
#include <moderato/moderato.hpp>

#include "provider_server.hpp"

using namespace moderato;

namespace {

constexpr const char* script = R"json({"rules": [
  {"when": {"model": "selector", "contains": "bob says"}, "reply": "carol"},
  {"when": {"model": "selector", "contains": "alice says"}, "reply": "bob"},
  {"when": {"model": "selector"}, "reply": "alice"},
  {"when": {"model": "alice"}, "reply": "alice says that it goes on"},
  {"when": {"model": "bob"}, "reply": "bob says that it goes on"},
  {"when": {"model": "carol"}, "reply": "carol says that it goes on"},
  {"when": {"model": "coder", "contains": "Code output"}, "reply": "It printed 1. What next?"},
  {"when": {"model": "coder"}, "reply": "```python\nprint(1)\n```"},
  {"when": {"model": "runner"}, "reply": "Print it again."},
  {"when": {"model": "planner", "contains": "Fill in the ledger", "turn": 6},
   "reply": "{\"is_request_satisfied\": true, \"is_progress_being_made\": true, \"is_in_loop\": false, \"instruction_or_question\": \"\", \"next_speaker\": \"alice\"}"},
  {"when": {"model": "planner", "contains": "Fill in the ledger"},
   "reply": "{\"is_request_satisfied\": false, \"is_progress_being_made\": true, \"is_in_loop\": false, \"instruction_or_question\": \"go on\", \"next_speaker\": \"alice\"}"},
  {"when": {"model": "stalled", "contains": "Fill in the ledger"},
   "reply": "{\"is_request_satisfied\": false, \"is_progress_being_made\": false, \"is_in_loop\": false, \"instruction_or_question\": \"go on\", \"next_speaker\": \"alice\"}"},
  {"when": {"model": "caller", "role": "user"},
   "tool_calls": [{"name": "alice", "arguments": {"task": "look it up"}}]},
  {"when": {"model": "caller"}, "reply": "alice has told me"}
]})json";

class PrintsOne final : public CodeExecutor {
 public:
  Result<CodeResult> execute(const std::vector<CodeBlock>&, const std::stop_token&) override {
    return CodeResult{0, "1\n"};
  }
};

/// A world with a provider that counts for itself.
struct World {
  std::shared_ptr<MemoryLedger> ledger = std::make_shared<MemoryLedger>();
  Simulation runtime{{.ledger = ledger}};
  SimulatedProvider provider{{.script = SimulatedScript::from_json(script).value()}};

  Model model(const std::string& name) {
    return runtime.model(provider.provider(name), {.limiter = unlimited()});
  }
  AssistantAgent agent(const std::string& name) {
    return AssistantAgent({.name = name,
                           .description = "role of " + name,
                           .model = model(name),
                           .max_consecutive_auto_reply = 1000});
  }
  [[nodiscard]] std::int64_t billed() const {
    const SimulatedStats stats = provider.stats();
    return stats.input_tokens + stats.output_tokens;
  }
  /// By the ledger: what was charged, and how many requests were sent.
  [[nodiscard]] std::int64_t charged() const {
    std::int64_t tokens = 0;
    for (const CallRecord& record : ledger->records()) tokens += record.usage.total();
    return tokens;
  }
  [[nodiscard]] std::int64_t sent() const {
    std::int64_t attempts = 0;
    for (const CallRecord& record : ledger->records()) attempts += record.attempt > 0 ? 1 : 0;
    return attempts;
  }
};

/// Who talks to whom, and everybody who takes part.
struct Cast {
  ConversableAgent user;
  ConversableAgent team;
  std::vector<ConversableAgent> others{};
  std::optional<std::int64_t> max_turns{};
  bool stream = false;
};

struct Shape {
  std::string name;
  std::int64_t calls;  ///< Of one whole run.
  std::function<Cast(World&)> cast;
};

UserProxyAgent asker() {
  return UserProxyAgent({.name = "user",
                         .human_input_mode = HumanInputMode::never,
                         .max_consecutive_auto_reply = 1000,
                         .default_auto_reply = "Please go on."});
}

Cast group(World& world, SpeakerSelection selection, std::int64_t replies) {
  std::vector<ConversableAgent> agents{world.agent("alice"), world.agent("bob"),
                                       world.agent("carol")};
  GroupChatManager boss({.group_chat = {.agents = agents,
                                        .max_round = replies + 1,
                                        .speaker_selection_method = std::move(selection)},
                         .name = "boss",
                         .model = world.model("selector")});
  return {.user = asker(), .team = std::move(boss), .others = std::move(agents)};
}

Cast code_agent(World& world) {
  UserProxyAgent runner({.name = "runner",
                         .model = world.model("runner"),
                         .human_input_mode = HumanInputMode::never,
                         .max_consecutive_auto_reply = 1000,
                         .code_execution = {.executor = std::make_shared<PrintsOne>()}});
  return {.user = std::move(runner), .team = world.agent("coder"), .max_turns = 3};
}

Cast graph(World& world) {
  std::vector<ConversableAgent> agents;
  for (const char* name : {"start", "alice", "bob", "carol", "join"}) {
    agents.push_back(world.agent(name));
  }
  GraphAgent team({.agents = agents,
                   .edges = {{"start", "alice"},
                             {"start", "bob"},
                             {"start", "carol"},
                             {"alice", "join"},
                             {"bob", "join"},
                             {"carol", "join"}},
                   .joins = {{"join", Join::all}}});
  return {.user = asker(), .team = std::move(team), .others = std::move(agents)};
}

Cast planner(World& world, const std::string& model) {
  std::vector<ConversableAgent> agents{world.agent("alice")};
  PlannerAgent team({.model = world.model(model), .agents = agents});
  return {.user = asker(), .team = std::move(team), .others = std::move(agents)};
}

Cast group_inside(World& world) {
  Cast inner = group(world, SpeakerSelectionMethod::round_robin, 8);
  const AssistantAgent writer = world.agent("writer");
  GroupChatManager outer(
      {.group_chat = {.agents = {inner.team, writer},
                      .max_round = 3,
                      .speaker_selection_method = SpeakerSelectionMethod::round_robin},
       .name = "outer"});
  std::vector<ConversableAgent> others = inner.others;
  others.insert(others.end(), {inner.team, writer});
  return {.user = asker(), .team = std::move(outer), .others = std::move(others)};
}

Cast agent_as_tool(World& world) {
  const AssistantAgent alice = world.agent("alice");
  AssistantAgent caller(
      {.name = "caller", .model = world.model("caller"), .tools = {agent_tool(alice)}});
  return {.user = asker(),
          .team = std::move(caller),
          .others = {alice},
          .max_turns = 2,
          .stream = true};
}

const std::vector<Shape>& shapes() {
  using enum SpeakerSelectionMethod;
  static const std::vector<Shape> all{
      {"round robin", 8, [](World& world) { return group(world, round_robin, 8); }},
      {"selector", 16, [](World& world) { return group(world, automatic, 8); }},
      {"code agent with a model", 4, code_agent},
      {"parallel graph", 5, graph},
      {"planner", 12, [](World& world) { return planner(world, "planner"); }},
      // Three plans of 2 calls, for each 3 ledgers and 2 turns, the answer.
      {"planner that stalls", 22, [](World& world) { return planner(world, "stalled"); }},
      {"group inside an agent", 9, group_inside},
      {"agent as a tool, streamed", 3, agent_as_tool},
  };
  return all;
}

ChatOptions options_for(const Cast& cast, Session& session) {
  return {.max_turns = cast.max_turns,
          .session = &session,
          .stream = cast.stream,
          .repetition = {.report_after = 0, .stop_after = 0}};
}

}  // namespace

TEST_CASE("in every shape the budget, the chat and the ledger see all that is billed") {
  for (const Shape& shape : shapes()) {
    CAPTURE(shape.name);
    World world;
    const Cast cast = shape.cast(world);
    Session session(world.runtime, {.budget = TokenBudget::make(1'000'000)});
    const ChatResult chat =
        cast.user.initiate_chat(cast.team, "Begin with it.", options_for(cast, session));
    CHECK_FALSE(chat.stop.error.has_value());
    CHECK(world.billed() > 0);
    CHECK(session.options().budget->spent() == world.billed());
    CHECK(session.options().budget->reserved() == 0);
    CHECK(chat.usage.total() == world.billed());
    CHECK(chat.usage.source == UsageSource::measured);
    CHECK(world.charged() == world.billed());
    CHECK(chat.calls == shape.calls);
    CHECK(world.provider.stats().requests == shape.calls);
    CHECK(world.sent() == shape.calls);
  }
}

TEST_CASE("in every shape a cap holds wherever it lies, and nothing is asked beyond it") {
  for (const Shape& shape : shapes()) {
    World free;
    {
      const Cast cast = shape.cast(free);
      Session session(free.runtime);
      cast.user.initiate_chat(cast.team, "Begin with it.", options_for(cast, session));
    }
    for (std::int64_t percent = 0; percent < 100; percent += 7) {
      CAPTURE(shape.name);
      CAPTURE(percent);
      World world;
      const Cast cast = shape.cast(world);
      const std::int64_t cap = free.billed() * percent / 100;
      Session session(world.runtime, {.budget = TokenBudget::make(cap)});
      const ChatResult chat =
          cast.user.initiate_chat(cast.team, "Begin with it.", options_for(cast, session));
      CAPTURE(to_string(chat.stop));
      CHECK(chat.stop.reason == StopReason::token_budget);
      CHECK(world.billed() <= cap);
      CHECK(session.options().budget->spent() == world.billed());
      CHECK(session.options().budget->overrun() == 0);
      CHECK(world.provider.stats().requests == chat.calls);
    }
  }
}

TEST_CASE(
    "in every shape a stop at any step ends it, keeps what was said and leaves nothing behind") {
  for (const Shape& shape : shapes()) {
    CAPTURE(shape.name);
    // Runs it, and asks it to stop at the event of this number.
    const auto run = [&](World& world, std::int64_t stop_at, std::int64_t& events) {
      const Cast cast = shape.cast(world);
      std::stop_source source;
      Session session(world.runtime, {.budget = TokenBudget::make(1'000'000)});
      ChatOptions options = options_for(cast, session);
      options.stop = source.get_token();
      options.observer = Observer([&](const Event&) {
        if (++events == stop_at) source.request_stop();
      });
      const ChatResult chat = cast.user.initiate_chat(cast.team, "Begin with it.", options);
      CHECK(session.options().budget->reserved() == 0);
      CHECK(session.options().budget->spent() >= world.billed());
      CHECK(world.provider.stats().in_flight == 0);
      return chat;
    };
    World free;
    std::int64_t all = 0;
    const ChatResult whole = run(free, 0, all);
    for (std::int64_t stop_at = 1; stop_at < all; stop_at += std::max<std::int64_t>(1, all / 40)) {
      CAPTURE(stop_at);
      World world;
      std::int64_t events = 0;
      const ChatResult chat = run(world, stop_at, events);
      CHECK(chat.transcript.size() <= whole.transcript.size());
      CHECK(chat.calls <= whole.calls);
      if (chat.transcript.size() < whole.transcript.size()) {
        CHECK(chat.stop.reason == StopReason::cancelled);
      }
    }
  }
}

TEST_CASE("in every shape a cap holds over six runs that are saved and loaded") {
  for (const Shape& shape : shapes()) {
    CAPTURE(shape.name);
    World world;
    const Cast cast = shape.cast(world);
    std::vector<ConversableAgent> everybody = cast.others;
    everybody.insert(everybody.end(), {cast.user, cast.team});
    std::int64_t cap = 0;
    std::int64_t seen_by_sessions = 0;
    Json saved;
    for (int run = 0; run < 6; ++run) {
      CAPTURE(run);
      // The first run shows what one costs; all six together may cost twice that.
      const auto budget = TokenBudget::make(run == 0 ? 1'000'000 : cap);
      Session session(world.runtime, {.id = "s", .budget = budget});
      if (run > 0) {
        const auto loaded = load_session(session, saved, everybody);
        REQUIRE(loaded.has_value());
        CHECK(budget->spent() == world.billed());
      }
      const std::int64_t before = world.provider.stats().requests;
      const ChatResult chat =
          cast.user.initiate_chat(cast.team, "Begin with it.", options_for(cast, session));
      CHECK(world.provider.stats().requests - before == chat.calls);
      if (run == 0) cap = 2 * world.billed();
      if (run == 5) CHECK(chat.stop.reason == StopReason::token_budget);
      CHECK(budget->spent() == world.billed());
      CHECK(budget->overrun() == 0);
      CHECK(world.billed() <= cap);
      seen_by_sessions = session.totals().snapshot().usage.total();
      const auto json = save_session(session);
      REQUIRE_MESSAGE(json.has_value(), json.error().message);
      saved = parse_json(dump_json(*json)).value();
    }
    CHECK(seen_by_sessions == world.billed());
    CHECK(world.charged() == world.billed());
  }
}

TEST_CASE("a planner's calls have a purpose of their own, its last words are a final answer") {
  World world;
  const Cast cast = planner(world, "planner");
  Session session(world.runtime);
  cast.user.initiate_chat(cast.team, "Begin with it.", options_for(cast, session));
  std::map<std::string, int> calls;
  for (const CallRecord& record : world.ledger->records()) {
    ++calls[record.agent + " " + std::string(to_string(record.purpose))];
  }
  CHECK(calls == std::map<std::string, int>{
                     {"alice reply", 4}, {"planner final_answer", 1}, {"planner planning", 7}});
}

TEST_CASE("a stream without usage is charged with no less than is billed, and the cap holds") {
  for (const std::int64_t cap : {100'000, 1'000, 100}) {
    CAPTURE(cap);
    const ProviderServer server;
    Runtime runtime;
    const Model model = runtime.model(
        openai({.model = "tokens-20", .base_url = server.base_url(), .stream_usage = false}));
    const AssistantAgent writer({.name = "writer", .model = model});
    const ChatResult chat =
        asker().initiate_chat(writer, "Begin with it.",
                              {.token_budget = cap,
                               .max_turns = 8,
                               .stream = true,
                               .repetition = {.report_after = 0, .stop_after = 0}});
    const SimulatedStats stats = server.stats();
    const std::int64_t billed = stats.input_tokens + stats.output_tokens;
    CHECK(chat.calls == stats.requests);
    if (chat.calls > 0) CHECK(chat.usage.source == UsageSource::estimated);
    CHECK(chat.usage.total() >= billed);
    CHECK(chat.usage.total() <= cap);
    CHECK(billed <= cap);
    CHECK((chat.stop.reason == StopReason::max_turns) == (cap == 100'000));
  }
}

TEST_CASE("a stream without usage keeps its cap over runs that are saved and loaded") {
  constexpr std::int64_t cap = 2'500;
  const ProviderServer server;
  Runtime runtime;
  const Model model = runtime.model(
      openai({.model = "tokens-20", .base_url = server.base_url(), .stream_usage = false}));
  const AssistantAgent writer({.name = "writer", .system_message = "Be brief.", .model = model});
  const UserProxyAgent user = asker();
  Json saved;
  std::int64_t runs = 0;
  for (bool ended = false; !ended && runs < 20; ++runs) {
    CAPTURE(runs);
    const auto budget = TokenBudget::make(cap);
    Session session(runtime, {.id = "s", .budget = budget});
    if (runs > 0) REQUIRE(load_session(session, saved, {user, writer}));
    const ChatResult chat =
        user.initiate_chat(writer, "Begin with it.",
                           {.max_turns = 2,
                            .session = &session,
                            .stream = true,
                            .repetition = {.report_after = 0, .stop_after = 0}});
    ended = chat.stop.reason == StopReason::token_budget;
    const SimulatedStats stats = server.stats();
    CHECK(budget->spent() >= stats.input_tokens + stats.output_tokens);
    CHECK(budget->spent() <= cap);
    saved = parse_json(dump_json(save_session(session).value())).value();
  }
  CHECK(runs > 2);
  CHECK(runs < 20);
}
