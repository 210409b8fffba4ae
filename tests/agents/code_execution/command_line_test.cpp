#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <stop_token>
#include <string>
#include <thread>

#include <moderato/agents/code_execution/command_line_executor.hpp>
#include <moderato/agents/code_execution/isolation.hpp>

using namespace moderato;
using namespace std::chrono_literals;

namespace {

// A folder of its own, removed at the end.
struct Folder {
  Folder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "moderato-test-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

CommandLineOptions plain(Isolation isolation) {
  CommandLineOptions options;
  options.isolation = isolation;
  options.timeout = 30s;
  return options;
}

CodeResult run(const CommandLineOptions& options, std::vector<CodeBlock> blocks) {
  auto result = command_line_executor(options)->execute(blocks, {});
  if (result) return *result;
  FAIL(result.error().message);
  return {};
}

bool sandbox_is_there() {
  const auto result =
      command_line_executor(plain(Isolation::sandbox))->execute({{"sh", "true"}}, {});
  if (!result) MESSAGE("skipped: " << result.error().message);
  return result.has_value();
}

bool is_alive(const std::filesystem::path& pid_file) {
  std::ifstream in(pid_file);
  int pid = 0;
  in >> pid;
  REQUIRE(pid > 0);
  // A killed child of nobody we wait for may be a zombie for a moment; then it has no more memory.
  for (int i = 0; i < 100'000 && ::kill(pid, 0) == 0; ++i) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(stat, text);
    if (text.find(") Z") != std::string::npos) return false;
    std::this_thread::yield();
  }
  return ::kill(pid, 0) == 0;
}

}  // namespace

TEST_CASE(
    "output is standard error, then standard output, of each block up to the one that fails") {
  const auto options = plain(Isolation::unsandboxed);
  CHECK(run(options, {{"sh", "echo out; echo err >&2"}}) == CodeResult{0, "err\nout\n"});
  CHECK(run(options, {{"sh", "echo one"}, {"bash", "echo two"}}) == CodeResult{0, "one\ntwo\n"});
  CHECK(run(options, {{"sh", "exit 3"}, {"sh", "echo never"}}) == CodeResult{3, ""});
  CHECK(run(options, {{"rust", "fn main() {}"}}) == CodeResult{1, "\nunknown language rust"});
  CHECK(run(options, {{"sh", "kill -9 $$"}}).exit_code == 137);
}

TEST_CASE("the older runner's output has a line end before each block, and one stream of it") {
  auto options = plain(Isolation::unsandboxed);
  options.legacy_output = true;
  CHECK(run(options, {{"sh", "echo one"}, {"sh", "echo two"}}) == CodeResult{0, "\none\n\ntwo\n"});
  CHECK(run(options, {{"sh", "echo out; echo err >&2; exit 3"}}) == CodeResult{3, "\nerr\n"});
}

TEST_CASE("C++ is compiled and run") {
  const CodeResult result =
      run(plain(Isolation::unsandboxed),
          {{"cpp", "#include <cstdio>\nint main() { puts(\"hi\"); return 4; }"}});
  CHECK(result == CodeResult{4, "hi\n"});
}

TEST_CASE("the environment is the allow-list, and nothing of ours") {
  REQUIRE(::setenv("MODERATO_TEST_SECRET", "key", 1) == 0);
  auto options = plain(Isolation::unsandboxed);
  options.environment["GREETING"] = "hello";
  CHECK(run(options, {{"sh", "echo \"$GREETING${MODERATO_TEST_SECRET-nothing}\""}}).output ==
        "hellonothing\n");
  ::unsetenv("MODERATO_TEST_SECRET");
}

TEST_CASE("standard input is empty") {
  CHECK(run(plain(Isolation::unsandboxed), {{"sh", "read line || echo none"}}).output == "none\n");
}

TEST_CASE("code that never ends is ended, with all that it started") {
  const Folder folder;
  auto options = plain(Isolation::unsandboxed);
  options.work_dir = folder.path;
  options.timeout = 300ms;
  const CodeResult result =
      run(options, {{"sh", "sleep 600 & echo $! > child; echo begun; while :; do :; done"}});
  CHECK(result == CodeResult{124, "begun\n\nTimeout"});
  CHECK_FALSE(is_alive(folder.path / "child"));
}

TEST_CASE("what a program leaves in the background ends with it") {
  const Folder folder;
  auto options = plain(Isolation::unsandboxed);
  options.work_dir = folder.path;
  CHECK(run(options, {{"sh", "sleep 600 & echo $! > child"}}) == CodeResult{0, ""});
  CHECK_FALSE(is_alive(folder.path / "child"));
}

TEST_CASE("code that floods its output is ended, and the output says so") {
  auto options = plain(Isolation::unsandboxed);
  options.max_output_bytes = 1000;
  const CodeResult result = run(options, {{"sh", "yes"}});
  CHECK(result.exit_code == 1);
  CHECK(result.output.starts_with("y\ny\n"));
  CHECK(result.output.ends_with("\n[cut: it wrote more than 1000 bytes and was ended]"));
  CHECK(result.output.size() < 1100);
}

TEST_CASE("code that starts too many processes is ended") {
  auto options = plain(Isolation::unsandboxed);
  options.max_processes = 8;
  const CodeResult result =
      run(options, {{"sh", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 20 & done; wait"}});
  CHECK(result == CodeResult{1, "\n[it started more than 8 processes and was ended]"});
}

TEST_CASE("a program that talks all the time is counted like a quiet one") {
  auto options = plain(Isolation::unsandboxed);
  options.max_processes = 8;
  options.max_output_bytes = 50'000'000;
  const CodeResult result =
      run(options,
          {{"sh",
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 20 & done; while :; do echo .; done"}});
  CHECK(result.exit_code == 1);
  CHECK(result.output.find("[it started more than 8 processes") != std::string::npos);
}

TEST_CASE("a pipe in the place of a file is an error, and nobody waits for its reader") {
  const Folder folder;
  auto options = plain(Isolation::unsandboxed);
  options.work_dir = folder.path;
  REQUIRE(::mkfifo((folder.path / "pipe.sh").c_str(), 0600) == 0);
  const CodeResult refused = run(options, {{"sh", "# filename: pipe.sh\necho"}});
  CHECK(refused.exit_code == 1);
  CHECK(refused.output.find("is no ordinary file") != std::string::npos);
}

TEST_CASE("a file that grows too large ends its program") {
  const Folder folder;
  auto options = plain(Isolation::unsandboxed);
  options.work_dir = folder.path;
  options.max_file_bytes = 10'000;
  CHECK(run(options, {{"sh", "yes > big"}}).exit_code != 0);
  CHECK(std::filesystem::file_size(folder.path / "big") <= 10'000);
}

TEST_CASE("a stop token ends running code at once") {
  const auto executor = command_line_executor(plain(Isolation::unsandboxed));
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  const auto result = executor->execute({{"sh", "sleep 600"}}, stop.get_token());
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().code == ErrorCode::cancelled);
}

TEST_CASE("a file name leads nowhere out of the work folder, not even by a link") {
  const Folder folder;
  const Folder outside;
  auto options = plain(Isolation::unsandboxed);
  options.work_dir = folder.path;
  const CodeResult refused{1, "Filename is not in the workspace"};
  CHECK(run(options, {{"sh", "# filename: ../x.sh\necho"}}) == refused);
  std::filesystem::create_symlink(outside.path, folder.path / "link");
  CHECK(run(options, {{"sh", "# filename: link/x.sh\necho"}}) == refused);
  std::filesystem::create_symlink(outside.path / "file", folder.path / "file.sh");
  CHECK(run(options, {{"sh", "# filename: file.sh\necho"}}) == refused);
  CHECK(run(options, {{"sh", "# filename: link/made/x.sh\necho"}}) == refused);
  CHECK(std::filesystem::is_empty(outside.path));
  CHECK(run(options, {{"sh", "# filename: sub/x.sh\necho in $0"}}).output == "in sub/x.sh\n");
}

TEST_CASE("dangerous shell commands are refused outside a sandbox") {
  const auto result = command_line_executor(plain(Isolation::unsandboxed))
                          ->execute({{"sh", "rm -rf ./nothing-here"}}, {});
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().message ==
        "Potentially dangerous command detected: Use of 'rm -rf' command is not allowed.");
}

TEST_CASE("where there is no sandbox code is refused, and the error says what to do") {
  const Folder folder;
  auto options = plain(Isolation::sandbox);
  options.work_dir = folder.path;
  options.bubblewrap = "no-such-program";
  const auto result = command_line_executor(options)->execute({{"sh", "touch ran"}}, {});
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().code == ErrorCode::configuration);
  CHECK(result.error().message ==
        "code is not run, because there is no sandbox for it: there is no program no-such-program. "
        "Install bubblewrap and allow user namespaces, or choose Isolation::container, or write "
        "Isolation::unsandboxed to run it without protection");
  CHECK_FALSE(std::filesystem::exists(folder.path / "ran"));
}

TEST_CASE("a sandbox that the machine does not allow is a refusal, too") {
  const Folder folder;
  std::ofstream(folder.path / "bwrap") << "#!/bin/sh\necho 'bwrap: no permissions' >&2; exit 1\n";
  ::chmod((folder.path / "bwrap").c_str(), 0755);
  auto options = plain(Isolation::sandbox);
  options.bubblewrap = (folder.path / "bwrap").string();
  const auto result = command_line_executor(options)->execute({{"sh", "true"}}, {});
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().message.find("bwrap: no permissions") != std::string::npos);
}

TEST_CASE("the sandbox shows the work folder, and nothing of the machine but its programs") {
  if (!sandbox_is_there()) return;
  const Folder folder;
  const Folder secret;
  std::ofstream(secret.path / "key") << "secret";
  auto options = plain(Isolation::sandbox);
  options.work_dir = folder.path;
  const CodeResult result =
      run(options, {{"sh", "pwd; echo kept > result; cat " + (secret.path / "key").string() +
                               " /etc/shadow; touch /usr/x /y; ls -d /home /root /var; true"}});
  CHECK(result.exit_code == 0);
  CHECK(result.output.find("/workspace\n") != std::string::npos);
  CHECK(result.output.find("secret") == std::string::npos);
  for (const char* hidden : {"/home", "/root", "/var", "/etc/shadow"}) {
    CAPTURE(hidden);
    CHECK(result.output.find(std::string(hidden) + "': No such file") +
              result.output.find(std::string(hidden) + ": No such file") !=
          2 * std::string::npos);
  }
  CHECK(std::filesystem::exists(folder.path / "result"));
  CHECK_FALSE(std::filesystem::exists("/usr/x"));
  CHECK_FALSE(std::filesystem::exists("/y"));
}

TEST_CASE("in the sandbox nothing else can be written to, and scratch folders are bounded") {
  if (!sandbox_is_there()) return;
  const CodeResult result =
      run(plain(Isolation::sandbox),
          {{"sh",
            "mkdir /etc/x /dev/x /x 2>/dev/null && echo made; echo > /dev/null && echo null; "
            "df -k /dev/shm /tmp | grep -c ' 262144 '"}});
  CHECK(result.output == "null\n2\n");
}

TEST_CASE("the sandbox has no network and sees no other process") {
  if (!sandbox_is_there()) return;
  const CodeResult result =
      run(plain(Isolation::sandbox),
          {{"bash",
            "exec 3<>/dev/tcp/1.1.1.1/53 && echo connected; tail -n +3 /proc/net/dev | wc -l; "
            "ls /proc | grep -c '^[0-9]'"}});
  CHECK(result.output.find("connected") == std::string::npos);
  CHECK(result.output.find("Network is unreachable") != std::string::npos);
}

TEST_CASE("code in a sandbox that never ends is ended, even what has left its group") {
  if (!sandbox_is_there()) return;
  auto options = plain(Isolation::sandbox);
  options.timeout = 500ms;
  const std::string mark = "600." + std::to_string(::getpid());
  const CodeResult result =
      run(options, {{"sh", "setsid sleep " + mark + " & echo begun; sleep 600"}});
  CHECK(result == CodeResult{124, "begun\n\nTimeout"});
  const auto is_running = [&] {
    return run(plain(Isolation::unsandboxed),
               {{"sh", "pgrep -f 'sleep " + mark + "$' > /dev/null && echo alive"}})
               .output == "alive\n";
  };
  bool alive = true;
  for (int i = 0; i < 200 && alive; ++i) alive = is_running();
  CHECK_FALSE(alive);
}

TEST_CASE("a fork bomb in a sandbox is ended") {
  if (!sandbox_is_there()) return;
  auto options = plain(Isolation::sandbox);
  options.max_processes = 16;
  const CodeResult result = run(
      options,
      {{"sh",
        "for i in 1 2 3 4 5; do (for j in 1 2 3 4 5 6; do sleep 20 & done; wait) & done; wait"}});
  CHECK(result == CodeResult{1, "\n[it started more than 16 processes and was ended]"});
}

TEST_CASE("Python runs in a sandbox") {
  if (!sandbox_is_there()) return;
  if (!std::filesystem::exists("/usr/bin/python3")) {
    MESSAGE("skipped: there is no /usr/bin/python3");
    return;
  }
  CHECK(run(plain(Isolation::sandbox), {{"python", "print(6 * 7)"}}) == CodeResult{0, "42\n"});
}

TEST_CASE("a container gets no network, no rights, and bounded memory and processes") {
  CommandLineOptions options;
  options.work_dir = "/work";
  const auto words = in_container("/usr/bin/podman", "name", options, {"python3", "a.py"});
  const auto has = [&](const std::string& option, const std::string& value) {
    const auto found = std::find(words.begin(), words.end(), option);
    return found != words.end() && *(found + 1) == value;
  };
  CHECK(has("--network", "none"));
  CHECK(has("--cap-drop", "ALL"));
  CHECK(has("--security-opt", "no-new-privileges"));
  CHECK(has("--pids-limit", "64"));
  CHECK(has("--memory", "2147483648"));
  CHECK(has("--volume", "/work:/workspace"));
  CHECK(words.back() == "a.py");
}

TEST_CASE(
    "the client of a container engine is configured by us, and no two containers have a name") {
  const Folder folder;
  const auto engine = folder.path / "engine";
  std::ofstream(engine) << "#!/bin/sh\necho \"$HOME $4\"\n";
  std::filesystem::permissions(engine, std::filesystem::perms::owner_all);
  auto options = plain(Isolation::container);
  options.container_engine = engine.string();
  const CodeResult first = run(options, {{"sh", "true"}});
  const CodeResult second = run(options, {{"sh", "true"}});
  CHECK(first.output.find("/") == 0);
  CHECK(first.output.find("moderato-code-") == std::string::npos);  // the work folder
  CHECK(first.output.find(" moderato-") != std::string::npos);
  CHECK(first.output != second.output);
}

TEST_CASE("a container engine that is not there is an error") {
  auto options = plain(Isolation::container);
  options.container_engine = "no-such-engine";
  const auto result = command_line_executor(options)->execute({{"sh", "true"}}, {});
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().message ==
        "code is not run, because there is no container engine no-such-engine");
}
