#include <doctest/doctest.h>

#include <csignal>
#include <fstream>
#include <moderato/core/json.hpp>

#include <support/temporary_folder.hpp>
#include "program.hpp"
#include "provider_server.hpp"

using moderato::test::TemporaryFolder;

using namespace moderato;

namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("a chat that was killed is resumed, and nothing is asked twice that was answered") {
  const TemporaryFolder folder;
  ProviderServerOptions options;
  options.engine.latency = {.first_token = std::chrono::milliseconds(300)};
  ProviderServer server(options);
  const std::string journal = folder / "j.db";
  Program chat({"chat", "--base-url", server.base_url(), "--journal", journal, "--run", "contract",
                "--no-stream", "Review this contract."});
  REQUIRE(chat.printed("first draft"));
  chat.signal(SIGKILL);
  CHECK(chat.wait().code == 128 + SIGKILL);

  const Ended resumed = run({"resume", "contract", "--journal", journal});
  CAPTURE(resumed.err);
  CHECK(resumed.code == 0);
  CHECK(has(resumed.out, "The review is complete"));
  CHECK(has(resumed.out, "\n3 calls, "));
  CHECK(server.stats().successes <= 4);

  // Again, and without a provider.
  server.stop();
  const Ended replayed = run({"replay", "contract", "--journal", journal});
  CHECK(replayed.code == 0);
  CHECK(replayed.out == resumed.out);
  const Ended ledger = run({"ledger", "contract", "--journal", journal});
  CHECK(ledger.code == 0);
  CHECK(has(ledger.out, "assistant"));
  const Ended doctor = run({"doctor", journal});
  CHECK(doctor.code == 0);
  CHECK(has(doctor.out, "healthy"));
}

TEST_CASE("the doctor's exit code says whether it found something, and it speaks JSON") {
  const TemporaryFolder folder;
  const std::string journal = folder / "j.db";
  for (const char* name : {"one", "two"}) {
    REQUIRE(run({"chat", "--simulate", "--journal", journal, "--run", name, "Review this."}).code ==
            0);
  }
  CHECK(run({"doctor", "one", "--journal", journal}).code == 0);
  // Both together asked the same.
  const Ended both = run({"doctor", journal, "--json"});
  CHECK(both.code == 3);
  CHECK(has(both.out, "\"cause\":\"cache_misses\""));
  CHECK(has(both.out, "\"healthy\":false"));
}

TEST_CASE("a chat that ctrl-C stopped goes on when it is resumed") {
  const TemporaryFolder folder;
  const std::string journal = folder / "j.db";
  ProviderServerOptions options;
  options.engine.latency = {.first_token = std::chrono::milliseconds(300)};
  const ProviderServer server(options);
  Program chat({"chat", "--base-url", server.base_url(), "--journal", journal, "--run", "r",
                "--no-stream", "Review this contract."});
  REQUIRE(chat.printed("first draft"));
  chat.signal(SIGINT);
  CHECK(chat.wait().code == 130);
  const Ended resumed = run({"resume", "r", "--journal", journal});
  CAPTURE(resumed.out);
  CHECK(resumed.code == 0);
  CHECK(has(resumed.out, "stopped: termination_message"));
}

TEST_CASE("what cannot be resumed is said") {
  const TemporaryFolder folder;
  const std::string journal = folder / "j.db";
  CHECK(run({"chat", "--simulate", "--journal", journal, "--run", "one", "Hello."}).code == 0);
  const Ended unknown = run({"resume", "two", "--journal", journal});
  CHECK(unknown.code == 1);
  CHECK(has(unknown.err, "there are: one"));
  const Ended again =
      run({"chat", "--simulate", "--journal", journal, "--run", "one", "Hello again."});
  CHECK(again.code == 1);
  CHECK(has(again.err, "already in the journal"));
  const Ended absent = run({"ledger", "--journal", folder / "absent.db"});
  CHECK(absent.code == 1);
  CHECK(has(absent.err, "absent.db; name one with --journal FILE"));
  CHECK(run({"chat", "--simulate", "--run", "x", "Hello."}).code == 2);
}

TEST_CASE("the ledger is printed by any of its keys, and as JSON") {
  const TemporaryFolder folder;
  const std::string journal = folder / "j.db";
  CHECK(run({"chat", "--simulate", "--journal", journal, "--run", "one", "Hello."}).code == 0);
  const Ended by_model = run({"ledger", "--journal", journal, "--by", "model"});
  CHECK(has(by_model.out, "review"));
  const Ended lines = run({"ledger", "one", "--journal", journal, "--json"});
  CHECK(run({"ledger", "one", "--journal", journal, "--json", "--agent", "nobody"}).out.empty());
  CHECK(run({"ledger", "--journal", journal, "--json", "--session", "one", "--purpose", "reply"})
            .out == lines.out);
  const auto first = parse_json(lines.out.substr(0, lines.out.find('\n')));
  REQUIRE(first.has_value());
  CHECK(first->at("session") == "one");
  CHECK(first->at("outcome") == "ok");
}

TEST_CASE("no key reaches the journal, whatever fails") {
  const TemporaryFolder folder;
  const std::string journal = folder / "j.db";
  ProviderServerOptions options;
  options.api_key = "sk-right-4711";
  const ProviderServer server(options);
  std::string printed;
  for (const char* key : {"sk-right-4711", "sk-wrong-4711"}) {
    const Ended ended = run(
        {"chat", "--base-url", server.base_url(), "--journal", journal, "--run", key + 3, "Hello."},
        {.environment = {std::string("OPENAI_API_KEY=") + key}});
    printed += ended.out + ended.err;
  }
  const std::string with_user = "http://user:sk-right-4711@127.0.0.1:1/v1";
  printed += run({"chat", "--base-url", with_user, "--timeout", "5", "--journal", journal, "--run",
                  "user", "Hello."})
                 .err;
  for (const char* ending : {"", "-wal"}) {
    CHECK_FALSE(has(bytes_of(journal + ending), "sk-right-4711"));
    CHECK_FALSE(has(bytes_of(journal + ending), "sk-wrong-4711"));
  }
  CHECK_FALSE(has(printed, "sk-right-4711"));
}
