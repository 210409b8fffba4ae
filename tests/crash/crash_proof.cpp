// Kills a chat wherever it can be killed and shows that nothing is lost: see tests/crash/run
// --help.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <moderato/moderato.hpp>
#include <random>
#include <support/child_program.hpp>
#include <thread>

#include "provider_server.hpp"

using namespace moderato;
using namespace std::chrono_literals;

namespace {

const std::vector<std::string> all_patterns{
    "two_agents", "summary", "budget", "tools",    "letter",   "human",
    "group",      "nested",  "graph",  "handoff",  "sequence", "selection",
    "planner",    "queue",   "expert", "parallel", "code"};

// The answers of the models that are called crash-PATTERN.
constexpr const char* script = R"({"rules": [
  {"when": {"model": "crash-selection", "contains": "Who speaks next"}, "reply": "critic"},
  {"when": {"model": "crash-planner", "contains": "Fill in the ledger", "turn": 2},
   "reply": "{\"is_request_satisfied\": false, \"is_progress_being_made\": true, \"is_in_loop\": false, \"next_speaker\": \"writer\", \"instruction_or_question\": \"Write.\"}"},
  {"when": {"model": "crash-planner", "contains": "Fill in the ledger", "turn": 3},
   "reply": "{\"is_request_satisfied\": false, \"is_progress_being_made\": true, \"is_in_loop\": false, \"next_speaker\": \"critic\", \"instruction_or_question\": \"Judge.\"}"},
  {"when": {"model": "crash-planner", "contains": "Fill in the ledger"},
   "reply": "{\"is_request_satisfied\": true, \"is_progress_being_made\": true, \"is_in_loop\": false, \"next_speaker\": \"critic\", \"instruction_or_question\": \"\"}"},
  {"when": {"model": "crash-expert", "contains": "Ask the expert"},
   "tool_calls": [{"name": "expert", "arguments": {"task": "Think."}}]},
  {"when": {"model": "crash-parallel", "contains": "Do both"},
   "tool_calls": [{"name": "left"}, {"name": "right"}]},
  {"when": {"model": "crash-code", "contains": "Write a program"},
   "reply": "```sh\necho ran\n```"}
]})";

using test::ChildProgram;
using Ended = test::ChildProgram::Ended;

struct Proof {
  std::string pattern;
  ProviderServer& provider;
  std::filesystem::path folder;

  Json expected{};
  std::int64_t paid = 0;   ///< The provider's count of the run that nobody killed.
  std::int64_t noted = 0;  ///< Things done outside in it.
  std::int64_t kills = 0;
  std::int64_t twice = 0;    ///< Answers that were paid for again, all of them reported.
  std::int64_t stopped = 0;  ///< Runs that ended because a tool must not be run twice.
  std::chrono::nanoseconds took{};
  std::vector<std::string> failures{};

  // What one run is about:
  std::int64_t before = 0;
  std::int64_t repeated = 0;
  std::string what{};

  [[nodiscard]] std::vector<std::string> arguments() const {
    return {pattern, provider.base_url(), (folder / "j.db").string(), (folder / "notes").string()};
  }
  [[nodiscard]] std::int64_t answers() const {
    while (provider.stats().in_flight != 0) std::this_thread::sleep_for(1ms);
    return provider.stats().successes;
  }
  [[nodiscard]] std::int64_t notes() const {
    std::ifstream file(folder / "notes");
    return std::count(std::istreambuf_iterator<char>(file), {}, '\n');
  }

  void begin(std::string name) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
    before = answers();
    repeated = 0;
    what = std::move(name);
  }
  void check(bool holds, const std::string& otherwise) {
    if (!holds) failures.push_back(fmt::format("{} {}: {}", pattern, what, otherwise));
  }
  Ended count(Ended ended) {
    if (!ended.lines.empty()) repeated += ended.lines.front().value("repeated", 0);
    if (ended.killed()) ++kills;
    return ended;
  }

  void run_whole() {
    begin("whole");
    const auto began = std::chrono::steady_clock::now();
    const Ended ended = ChildProgram(CRASH_CHAT, arguments()).wait();
    took = std::chrono::steady_clock::now() - began;
    check(ended.code() == 0 && ended.lines.size() == 2, "did not run");
    if (ended.lines.size() == 2) expected = ended.lines.back();
    paid = answers() - before;
    noted = notes();
    check(paid > 0, "asked nobody");
  }

  /// What it does outside must not be done twice, so it stops where nobody knows whether it was.
  [[nodiscard]] bool once() const { return pattern == "letter" || pattern == "code"; }

  /// Resumes to the end and compares.
  void finish() {
    const Ended ended = count(ChildProgram(CRASH_CHAT, arguments()).wait());
    if (ended.code() != 0 || ended.lines.size() != 2) return check(false, "was not resumed");
    const Json& result = ended.lines.back();
    const std::int64_t answered = answers() - before;
    check(answered <= paid + repeated,
          fmt::format("{} answers were paid for, {} without kills, {} reported", answered, paid,
                      repeated));
    twice += std::max<std::int64_t>(0, answered - paid);
    if (once()) {
      check(notes() <= 1, "it was done twice");
      if (result.at("stop").get<std::string>().find("tool_error") != std::string::npos) {
        ++stopped;
        return;
      }
    }
    check(result == expected, "another outcome: " + dump_json(result));
    check(notes() >= noted, "something was not done");
    auto journal = SqliteJournal::open({.path = (folder / "j.db").string(), .read_only = true});
    check(journal.has_value(), "the journal cannot be read");
    if (!journal) return;
    const auto calls = (*journal)->calls();
    check(calls && static_cast<std::int64_t>(calls->size()) >= paid, "the ledger has a gap");
  }

  /// At each write, before and after it is on disk, until there is no such write.
  void kill_at_writes() {
    for (const char* moment : {"before", "after"}) {
      for (int write = 1;; ++write) {
        begin(fmt::format("killed {} write {}", moment, write));
        auto with_kill = arguments();
        with_kill.push_back(std::to_string(write));
        with_kill.emplace_back(moment);
        const Ended ended = count(ChildProgram(CRASH_CHAT, with_kill).wait());
        if (!ended.killed()) break;
        finish();
      }
    }
  }

  void kill_at_random(int times, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < times; ++i) {
      begin(fmt::format("killed at random, number {} of seed {}", i, seed));
      const std::uint64_t in_a_row = 1 + random() % 3;
      for (std::uint64_t k = 0; k < in_a_row; ++k) {
        ChildProgram child(CRASH_CHAT, arguments());
        std::this_thread::sleep_for(took * static_cast<int>(random() % 1000) / 1000);
        child.signal(SIGKILL);
        (void)count(child.wait());
      }
      finish();
    }
  }

  /// Two processes, one run: the second is told, the first goes on.
  void resume_twice() {
    begin("resumed by two");
    ChildProgram first(CRASH_CHAT, arguments());
    first.wait_for_line();
    first.signal(SIGSTOP);
    const Ended second = ChildProgram(CRASH_CHAT, arguments(), true).wait();
    check(second.code() == 3, "the second process was not refused");
    first.signal(SIGCONT);
    const Ended ended = first.wait();
    check(ended.lines.size() == 2 && ended.lines.back() == expected, "the first was disturbed");
  }
};

}  // namespace

int main(int argc, char** argv) {
  int kills = 50;
  std::uint64_t seed = 1;
  std::vector<std::string> patterns;
  CLI::App app("Kills chats and shows that nothing is lost.");
  app.add_option("--kills", kills, "Kills at random instants, for each pattern");
  app.add_option("--seed", seed, "Of the random instants");
  app.add_option("patterns", patterns)->check(CLI::IsMember(all_patterns));
  CLI11_PARSE(app, argc, argv);
  if (patterns.empty()) patterns = all_patterns;

  ProviderServerOptions options;
  options.engine.latency = {.first_token = 2ms, .per_token = 100us};
  options.engine.script = SimulatedScript::from_json(script).value();
  ProviderServer provider(options);
  std::string folder = (std::filesystem::temp_directory_path() / "moderato-crash-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  std::size_t failed = 0;
  for (const std::string& pattern : patterns) {
    Proof proof{.pattern = pattern,
                .provider = provider,
                .folder = std::filesystem::path(folder) / pattern};
    proof.run_whole();
    if (proof.failures.empty()) {
      proof.kill_at_writes();
      proof.kill_at_random(kills, seed);
      proof.resume_twice();
    }
    for (const std::string& failure : proof.failures) fmt::print("  {}\n", failure);
    failed += proof.failures.size();
    fmt::print("{:10}  {} calls, killed {} times, {} answers paid twice (all reported){}: {}\n",
               pattern, proof.paid, proof.kills, proof.twice,
               proof.once() ? fmt::format(", {} stopped at the tool", proof.stopped) : "",
               proof.failures.empty() ? "ok" : "FAILED");
    std::fflush(stdout);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return failed == 0 ? 0 : 1;
}
