// crash_chat PATTERN BASE_URL JOURNAL NOTES [TRANSACTION before|after]: runs or resumes the run
// "run" of the journal. With the last two it kills itself at that write. Prints one line of JSON
// when the session is open
// ({"repeated": model calls that were under way when the run was interrupted}), and one at the end.

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <moderato/moderato.hpp>
#include <set>

using namespace moderato;

namespace {

struct Scene {
  Session& session;
  const Model& model;
  const std::string notes;  ///< A file with one line for everything done outside.

  void note(const char* what) const { std::ofstream(notes, std::ios::app) << what << '\n'; }
};

AssistantAgent assistant(const Scene& scene, const char* name, std::vector<Tool> tools = {}) {
  return AssistantAgent({.name = name, .model = scene.model, .tools = std::move(tools)});
}

UserProxyAgent quiet_user() {
  return UserProxyAgent({.name = "user",
                         .human_input_mode = HumanInputMode::never,
                         .default_auto_reply = "Please go on."});
}

ChatResult two_agents(const Scene& scene) {
  return assistant(scene, "critic")
      .initiate_chat(assistant(scene, "writer"), "Begin.",
                     {.max_turns = 3, .session = &scene.session, .stream = true});
}

ChatResult summary(const Scene& scene) {
  return quiet_user().initiate_chat(
      assistant(scene, "writer"), "Begin.",
      {.max_turns = 2, .session = &scene.session, .summary_method = reflection_with_llm()});
}

ChatResult budget(const Scene& scene) {
  return quiet_user().initiate_chat(
      assistant(scene, "writer"), "Begin.",
      {.token_budget = 6000, .session = &scene.session, .on_budget = OnBudget::final_answer});
}

ChatResult tools(const Scene& scene) {
  const Tool weather = tool(
      "weather", "tells the weather",
      [&scene](const std::string&, bool) { return scene.note("tool"), std::string("Rain."); },
      arg("city"), arg("celsius"), ToolOptions{.idempotent = true});
  return quiet_user().initiate_chat(assistant(scene, "writer", {weather}), "What is the weather?",
                                    {.max_turns = 2, .session = &scene.session});
}

ChatResult letter(const Scene& scene) {
  const Tool send = tool(
      "send", "sends a letter",
      [&scene](const std::string&, bool) { return scene.note("letter"), std::string("Sent."); },
      arg("city"), arg("celsius"));
  return quiet_user().initiate_chat(assistant(scene, "writer", {send}), "Send the letter.",
                                    {.max_turns = 2, .session = &scene.session});
}

ChatResult human(const Scene& scene) {
  const UserProxyAgent person({.name = "person",
                               .human_input_mode = HumanInputMode::always,
                               .human_input = HumanInput([&scene](const HumanPrompt&) {
                                 return scene.note("human"), std::string("Go on.");
                               })});
  return person.initiate_chat(assistant(scene, "writer"), "Begin.",
                              {.max_turns = 3, .session = &scene.session});
}

ChatResult sequence(const Scene& scene) {
  const AssistantAgent writer = assistant(scene, "writer");
  const ChatOptions options{.max_turns = 2, .session = &scene.session};
  (void)quiet_user().initiate_chat(writer, "First.", options);
  ChatOptions second = options;
  second.carryover = "The first chat is over.";
  return assistant(scene, "critic").initiate_chat(writer, "Second.", second);
}

ChatResult group(const Scene& scene) {
  const GroupChatManager manager(
      {.group_chat = {.agents = {assistant(scene, "writer"), assistant(scene, "critic"),
                                 assistant(scene, "editor")},
                      .max_round = 5,
                      .speaker_selection_method = SpeakerSelectionMethod::round_robin},
       .name = "group"});
  return quiet_user().initiate_chat(manager, "Begin.", {.max_turns = 1, .session = &scene.session});
}

ChatResult nested(const Scene& scene) {
  const ConversableAgent front(
      {.name = "front",
       .human_input_mode = HumanInputMode::never,
       .replies = {
           nested_chats({{.recipient = assistant(scene, "writer"), .options = {.max_turns = 1}},
                         {.recipient = assistant(scene, "critic"),
                          .options = {.max_turns = 1, .summary_method = reflection_with_llm()}}},
                        "user")}});
  return quiet_user().initiate_chat(front, "Begin.", {.max_turns = 2, .session = &scene.session});
}

// Two agents at the same time, each in a session of its own.
ChatResult graph(const Scene& scene) {
  const GraphAgent team({.name = "team",
                         .agents = {assistant(scene, "planner"), assistant(scene, "writer"),
                                    assistant(scene, "critic"), assistant(scene, "editor")},
                         .edges = {{"planner", "writer"},
                                   {"planner", "critic"},
                                   {"writer", "editor"},
                                   {"critic", "editor"}},
                         .joins = {{"editor", Join::all}}});
  return quiet_user().initiate_chat(team, "Begin.", {.max_turns = 1, .session = &scene.session});
}

ChatResult handoff(const Scene& scene) {
  const Tool hand_over = tool(
      "hand_over", "hands over to who knows",
      [&scene](const std::string&, bool) {
        return scene.note("handoff"), Handoff{.handoff_to = "expert", .message = "Help."};
      },
      arg("city"), arg("celsius"), ToolOptions{.idempotent = true});
  const GroupChatManager desk({.group_chat = {.agents = {assistant(scene, "clerk", {hand_over}),
                                                         assistant(scene, "expert")},
                                              .max_round = 6,
                                              .speaker_selection_method = ByHandoff{}},
                               .name = "desk"});
  return quiet_user().initiate_chat(desk, "What is the weather?",
                                    {.max_turns = 1, .session = &scene.session});
}

// The model is asked who speaks next; where its answer is no choice, it is asked again.
ChatResult selection(const Scene& scene) {
  const GroupChatManager manager(
      {.group_chat = {.agents = {assistant(scene, "writer"), assistant(scene, "critic"),
                                 assistant(scene, "editor")},
                      .max_round = 5,
                      .allow_repeat_speaker = false,
                      .select_speaker_prompt_template = "Who speaks next: {agentlist}?"},
       .name = "group",
       .model = scene.model});
  return quiet_user().initiate_chat(manager, "Begin.", {.max_turns = 1, .session = &scene.session});
}

ChatResult planner(const Scene& scene) {
  const PlannerAgent team({.name = "team",
                           .model = scene.model,
                           .agents = {assistant(scene, "writer"), assistant(scene, "critic")}});
  return quiet_user().initiate_chat(team, "Begin.", {.max_turns = 1, .session = &scene.session});
}

// Chats that wait for each other, each in a session of its own.
ChatResult queue(const Scene& scene) {
  const auto chat = [&](const char* name, std::vector<std::string> after) {
    return QueuedChat{.recipient = assistant(scene, name),
                      .message = Message::user(std::string("You are ") + name + "."),
                      .options = {.max_turns = 2},
                      .chat_id = name,
                      .prerequisites = std::move(after)};
  };
  ChatQueueResult all =
      initiate_chats({chat("writer", {}), chat("critic", {}), chat("editor", {"writer", "critic"})},
                     {.sender = quiet_user(), .session = &scene.session});
  return std::move(all.chats.back());
}

ChatResult expert(const Scene& scene) {
  const AssistantAgent expert({.name = "expert", .description = "knows it", .model = scene.model});
  return quiet_user().initiate_chat(assistant(scene, "writer", {agent_tool(expert)}),
                                    "Ask the expert.", {.max_turns = 2, .session = &scene.session});
}

// Two tools at the same time.
ChatResult parallel(const Scene& scene) {
  const auto note = [&](const char* name) {
    return tool(
        name, "does its part", [&scene, name] { return scene.note(name), std::string(name); },
        ToolOptions{.idempotent = true});
  };
  return quiet_user().initiate_chat(assistant(scene, "writer", {note("left"), note("right")}),
                                    "Do both.", {.max_turns = 2, .session = &scene.session});
}

ChatResult code(const Scene& scene) {
  const auto executor = command_line_executor({.isolation = Isolation::unsandboxed});
  const UserProxyAgent runs({
      .name = "user",
      .human_input_mode = HumanInputMode::never,
      .default_auto_reply = "Please go on.",
      .code_execution = {.executor = executor},
  });
  return runs.initiate_chat(assistant(scene, "writer"), "Write a program.",
                            {.max_turns = 3, .session = &scene.session});
}

/// What the provider's model is called: crash_proof has a script for it.
std::string model_of(const std::string& pattern) {
  if (pattern == "tools" || pattern == "letter" || pattern == "handoff") return "weather";
  return pattern == "selection" || pattern == "planner" || pattern == "expert" ||
                 pattern == "parallel" || pattern == "code"
             ? "crash-" + pattern
             : "pingpong-100";
}

const std::map<std::string, ChatResult (*)(const Scene&)> patterns{
    {"two_agents", two_agents}, {"summary", summary},   {"budget", budget},
    {"tools", tools},           {"letter", letter},     {"human", human},
    {"group", group},           {"nested", nested},     {"graph", graph},
    {"handoff", handoff},       {"sequence", sequence}, {"selection", selection},
    {"planner", planner},       {"queue", queue},       {"expert", expert},
    {"parallel", parallel},     {"code", code}};

/// Model calls that were under way when the run was interrupted: in it, and in the sessions that it
/// had opened for work beside it.
int calls_under_way(SqliteJournal& journal) {
  int calls = 0;
  const auto runs = journal.runs().value();
  for (const RunInfo& run : runs) {
    std::set<std::uint64_t> open;
    const auto effects = journal.read(run.id).value();
    for (const EffectRecord& effect : effects) {
      if (effect.kind != EffectKind::model_reply) continue;
      if (effect.phase == EffectRecord::Phase::started) {
        open.insert(effect.step);
      } else {
        open.erase(effect.step);
      }
    }
    calls += static_cast<int>(open.size());
  }
  return calls;
}

[[noreturn]] void die() {
  ::raise(SIGKILL);
  std::abort();
}

std::shared_ptr<SqliteJournal> open(const char* path, std::uint64_t kill_at, bool after) {
  auto journal = SqliteJournal::open({.path = path,
                                      .durability = Durability::process,
                                      .on_commit = [=](std::uint64_t transaction, bool committed) {
                                        if (transaction == kill_at && committed == after) die();
                                      }});
  if (!journal) throw std::runtime_error(journal.error().message);
  return *journal;
}

Json result_of(Session& session, const ChatResult& chat) {
  Json said = Json::array();
  for (const TranscriptEntry& entry : session.transcript()) {
    said.push_back(entry.speaker + " to " + entry.recipient + ": " + (*entry.message)->text());
  }
  const CallTotals::Snapshot used = session.totals().snapshot();
  return {{"transcript", std::move(said)},    {"summary", chat.summary},
          {"stop", to_string(chat.stop)},     {"calls", used.calls},
          {"input", used.usage.input},        {"output", used.usage.output},
          {"human_inputs", chat.human_inputs}};
}

int run(int argc, char** argv) {
  const std::string pattern = argv[1];
  const bool killed = argc > 6;
  const auto journal = open(argv[3], killed ? std::strtoull(argv[5], nullptr, 10) : 0,
                            killed && std::string(argv[6]) == "after");
  Runtime runtime({.ledger = journal->ledger()});
  const Model model = runtime.model(openai({.model = model_of(pattern), .base_url = argv[2]}),
                                    {.limiter = unlimited()});
  const int repeated = calls_under_way(*journal);
  Session session(runtime, {.id = "run",
                            .observer = journal->observer(),
                            .journal = journal,
                            .journal_mode = JournalMode::resume});
  fmt::print("{}\n", dump_json({{"repeated", repeated}}));
  std::fflush(stdout);
  const ChatResult chat = patterns.at(pattern)({session, model, argv[4]});
  if (auto kept = journal->flush(); !kept) throw std::runtime_error(kept.error().message);
  fmt::print("{}\n", dump_json(result_of(session, chat)));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 3;
  }
}
