#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include <support/temporary_folder.hpp>
#include "program.hpp"
#include "provider_server.hpp"

using moderato::test::TemporaryFolder;

using namespace moderato;

namespace {

/// A file in the folder, with this text.
std::string file(const TemporaryFolder& folder, const std::string& text,
                 const std::string& name = "flow.json") {
  std::ofstream(folder / name) << text;
  return folder / name;
}

std::string workflow(const std::string& base_url) {
  return R"({"workflow": 1, "name": "test",
  "models": {"m": {"model": "pingpong-3", "base_url": ")" +
         base_url + R"(", "api_key_env": "TEST_KEY"}},
  "agents": {"writer": {"model": "m"},
             "user": {"kind": "user_proxy", "human_input_mode": "never", "default_auto_reply": "Go on."}},
  "task": {"chat": {"from": "user", "to": "writer", "message": "Begin."}},
  "termination": {"ends_with": "TERMINATE"}
})";
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

constexpr std::string_view mistakes = R"({
  "workflow": 1,
  "models": {"small": {"modell": "gpt-4o-mini"}},
  "agents": {"writer": {"model": "smal"}, "critic": {"model": "small"}},
  "task": {"chat": {"from": "critic", "to": "writter", "message": "Begin."}},
  "token_budget": 0
})";

constexpr std::string_view problems =
    R"(
// [problems]
flow.json:3:23: models.small: "model" is missing
flow.json:3:24: models.small.modell is not known; did you mean "model"?
flow.json:4:34: agents.writer.model: no model is called "smal"; did you mean "small"?
flow.json:5:45: task.chat.to: no agent is called "writter"; did you mean "writer"?
flow.json:6:19: token_budget must be at least 1, it is 0
// [/problems]
)";

/// Without the marks, and the folder's name in front of each line.
std::string expected(const TemporaryFolder& folder) {
  std::string text;
  std::istringstream lines{std::string(problems)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("flow.json")) text += folder / line + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("moderato check prints every mistake as compilers do") {
  const TemporaryFolder folder;
  const Ended checked = run({"check", file(folder, std::string(mistakes))});
  CHECK(checked.code == 1);
  CHECK(checked.err == expected(folder));
  CHECK(checked.out.empty());
  // It is not run either.
  CHECK(run({"run", folder / "flow.json"}).err == expected(folder));
}

TEST_CASE("moderato check says of a file without mistakes that it is good") {
  const TemporaryFolder folder;
  const std::string path = file(folder, workflow("http://127.0.0.1:1/v1"));
  const Ended checked = run({"check", path});
  CHECK(checked.code == 0);
  CHECK(checked.out == path + ": good\n");
  const Ended absent = run({"check", folder / "absent.json"});
  CHECK(absent.code == 1);
  CHECK(has(absent.err, "absent.json cannot be read"));
}

TEST_CASE("moderato run sends the key of the environment, and says which is missing") {
  const TemporaryFolder folder;
  ProviderServer server({.api_key = "sk-marked"});
  const std::string path = file(folder, workflow(server.base_url()));
  const Ended missing = run({"run", path});
  CHECK(missing.code == 1);
  CHECK(has(missing.err, "the environment has no $TEST_KEY"));
  const Ended done = run({"run", path, "--no-stream"}, {.environment = {"TEST_KEY=sk-marked"}});
  CAPTURE(done.err);
  CHECK(done.code == 0);
  CHECK(has(done.out, "Reply 2."));
  CHECK(has(done.out, "test: 1 chat, 3 calls, "));
  CHECK_FALSE(has(done.out + done.err, "sk-marked"));
  CHECK(server.stats().successes == 3);
}

TEST_CASE("a workflow that was recorded is resumed, and nothing is asked again") {
  const TemporaryFolder folder;
  ProviderServer server;
  const std::string path = file(folder, workflow(server.base_url()));
  const std::string journal = folder / "j.db";
  const Program::Options key{.environment = {"TEST_KEY=sk"}};
  CHECK(run({"run", path, "--journal", journal, "--run", "one"}, key).code == 0);
  const auto paid = server.stats().successes;
  const Ended resumed = run({"run", path, "--journal", journal, "--resume", "one"}, key);
  CAPTURE(resumed.err);
  CHECK(resumed.code == 0);
  CHECK(has(resumed.out, "3 calls"));
  CHECK(server.stats().successes == paid);
}

TEST_CASE("moderato run --simulate needs no key; a tool that nobody offers is named") {
  const TemporaryFolder folder;
  const std::string path = file(folder, workflow("http://127.0.0.1:1/v1"));
  const Ended done = run({"run", path, "--simulate", "--message", "Hello.", "--json"});
  CHECK(done.code == 0);
  CHECK(has(done.out, "\"Hello.\""));
  const Ended refused = run({"run", file(folder, R"({"workflow": 1, "tools": ["look"],
    "models": {"m": {"model": "review"}},
    "agents": {"a": {"model": "m", "tools": ["look"]}, "b": {"model": "m"}},
    "task": {"chat": {"from": "b", "to": "a", "message": "x"}}})"),
                             "--simulate"});
  CHECK(refused.code == 1);
  CHECK(has(refused.err, "offers no tool \"look\""));
}

TEST_CASE("a graph that was killed says what was under way in its branches") {
  const TemporaryFolder folder;
  ProviderServerOptions options;
  options.engine.latency = {.first_token = std::chrono::milliseconds(300)};
  ProviderServer server(options);
  const std::string file = folder / "graph.json";
  std::ofstream(file) << R"({"workflow": 1,
    "models": {"m": {"model": "pingpong-9", "base_url": ")" +
                             server.base_url() + R"("}},
    "agents": {"start": {"model": "m"}, "left": {"model": "m"}, "right": {"model": "m"},
               "user": {"kind": "user_proxy", "human_input_mode": "never"}},
    "task": {"graph": {"from": "user", "message": "Begin.", "agents": ["start", "left", "right"],
      "edges": [{"from": "start", "to": "left"}, {"from": "start", "to": "right"}]}}})";
  const std::string journal = folder / "j.db";
  Program killed({"run", file, "--journal", journal, "--run", "g"});
  REQUIRE(killed.printed("Reply 1."));
  while (server.stats().requests < 3) std::this_thread::yield();  // both branches ask
  killed.signal(SIGKILL);
  CHECK(killed.wait().code == 128 + SIGKILL);
  const Ended resumed = run({"resume", "g", "--journal", journal});
  CAPTURE(resumed.err);
  CHECK(resumed.code == 0);
  CHECK(has(resumed.err, "interrupted: model_reply of left in g/"));
  CHECK(has(resumed.err, ": asked again, so it may be paid for twice"));
}

TEST_CASE("a recorded graph is replayed, counted, judged and reported with all its chats") {
  const TemporaryFolder folder;
  const std::string graph = EXAMPLE_WORKFLOWS "/graph.json";
  const std::string journal = folder / "j.db";
  const Ended first = run({"run", graph, "--simulate", "--journal", journal, "--run", "g"});
  REQUIRE(first.code == 0);
  CHECK(has(first.err, "moderato resume g --journal"));
  const Ended replayed = run({"replay", "g", "--journal", journal});
  CHECK(replayed.code == 0);
  const auto summary = [](const Ended& ended) {  // branches run at once: their order may differ
    return ended.out.substr(ended.out.rfind("weekend:"));
  };
  CHECK(summary(replayed) == summary(first));
  const Ended resumed =
      run({"resume", "g", "--journal", journal});  // it has ended: nothing is asked
  CHECK(resumed.code == 0);
  CHECK(summary(resumed) == summary(first));
  const Ended calls = run({"ledger", "g", "--journal", journal, "--json"});
  CHECK(std::count(calls.out.begin(), calls.out.end(), '\n') >= 3);
  CHECK_FALSE(has(run({"doctor", "g", "--journal", journal}).out, "0 calls"));
  CHECK(run({"report", "g", "--journal", journal, "--out", folder / "g.html"}).code == 0);
  std::ifstream page(folder / "g.html");
  const std::string html{std::istreambuf_iterator<char>(page), {}};
  CHECK(has(html, "purse"));
  const Ended absent = run({"run", graph, "--simulate", "--journal", journal, "--resume", "typo"});
  CHECK(absent.code == 1);
  CHECK(has(absent.err, "there is no run \"typo\""));
}
