#include <moderato/agents/code_execution/command_line_executor.hpp>

#include <fcntl.h>
#include <fmt/core.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <system_error>

#include <moderato/agents/code_execution/code_text.hpp>
#include <moderato/agents/code_execution/descriptor.hpp>
#include <moderato/agents/code_execution/isolation.hpp>
#include <moderato/agents/code_execution/process.hpp>
#include <moderato/core/digest.hpp>
#include <moderato/core/json.hpp>

namespace moderato {
namespace {

constexpr int timeout_exit = 124;
constexpr const char* program_folders = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

// What runs a file; empty: the language is not known, or only saved.
std::vector<std::string> interpreter(std::string_view language, const std::string& file) {
  if (language == "python") return {"python3", file};
  if (language == "sh") return {"sh", file};
  if (language == "bash") return {"bash", file};
  if (language == "cpp") {
    return {"sh", "-c", "g++ -std=c++20 -O1 -o \"$1.out\" \"$1\" && exec \"./$1.out\"", "sh", file};
  }
  return {};
}

bool is_only_saved(std::string_view language) {
  return language == "javascript" || language == "html" || language == "css";
}

std::string extension(std::string_view language) {
  if (language == "python") return "py";
  if (language == "javascript") return "js";
  return std::string(language);
}

/// The folder of `file` within `folder`, made if it is not there. Step by step: code may have left
/// links in its folder, and they must not lead what we do out of it.
Descriptor open_folder(const std::filesystem::path& folder, const std::filesystem::path& inside) {
  constexpr int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
  Descriptor at(::open(folder.c_str(), flags));
  for (const std::filesystem::path& part : inside) {
    if (part.empty() || part == ".") continue;
    if (part == "..") return {};
    ::mkdirat(at.get(), part.c_str(), 0755);
    at = Descriptor(::openat(at.get(), part.c_str(), flags));
    if (at.get() < 0) return {};
  }
  return at;
}

Result<void> write_file(const std::filesystem::path& folder, const std::filesystem::path& file,
                        std::string_view text) {
  const auto outside = [] {
    return fail(ErrorCode::invalid_request, "Filename is not in the workspace");
  };
  const auto inside = (folder / file).lexically_normal().lexically_relative(folder);
  if (inside.empty() || *inside.begin() == "..") return outside();
  const Descriptor place = open_folder(folder, inside.parent_path());
  if (place.get() < 0) return outside();
  // Nobody may be waited for, as at the other end of a pipe.
  constexpr int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  const Descriptor out(::openat(place.get(), inside.filename().c_str(), flags, 0644));
  if (out.get() < 0 && errno == ELOOP) return outside();
  struct stat what {};
  if ((out.get() < 0 && errno == ENXIO) ||
      (out.get() >= 0 && ::fstat(out.get(), &what) == 0 && !S_ISREG(what.st_mode))) {
    return fail(ErrorCode::invalid_request,
                fmt::format("{} is there already, and is no ordinary file", inside.string()));
  }
  for (std::size_t at = 0; out.get() >= 0 && at < text.size();) {
    const ssize_t written = ::write(out.get(), text.data() + at, text.size() - at);
    if (written < 0 && errno != EINTR) break;
    if (written > 0) at += static_cast<std::size_t>(written);
    if (at == text.size()) return {};
  }
  if (out.get() >= 0 && text.empty()) return {};
  return fail(ErrorCode::configuration,
              fmt::format("{} cannot be written: {}", (folder / file).string(),
                          std::generic_category().message(errno)));
}

class CommandLineExecutor final : public CodeExecutor {
 public:
  explicit CommandLineExecutor(CommandLineOptions options);
  CommandLineExecutor(const CommandLineExecutor&) = delete;
  CommandLineExecutor& operator=(const CommandLineExecutor&) = delete;
  ~CommandLineExecutor() override {
    std::error_code error;
    if (own_folder_) std::filesystem::remove_all(options_.work_dir, error);
  }

  Result<CodeResult> execute(const std::vector<CodeBlock>& blocks,
                             const std::stop_token& stop) override;

 private:
  Result<CodeResult> run_block(const CodeBlock& block, const std::stop_token& stop);
  Result<ProcessResult> run_isolated(const std::vector<std::string>& command,
                                     const std::stop_token& stop);
  Result<void> sandbox_works(const std::stop_token& stop);
  [[nodiscard]] ProcessSpec spec(std::vector<std::string> command) const;
  [[nodiscard]] ProcessSpec client(std::vector<std::string> command) const;
  [[nodiscard]] CodeResult worded(ProcessResult result) const;
  void end_container(const std::string& engine, const std::string& name) const;

  CommandLineOptions options_;
  bool own_folder_ = false;
  std::mutex mutex_;
  std::optional<Result<void>> sandbox_;  // whether it works, once that is known
};

CommandLineExecutor::CommandLineExecutor(CommandLineOptions options)
    : options_(std::move(options)) {
  const auto require = [](bool holds, const std::string& otherwise) {
    if (!holds) throw std::invalid_argument("command_line_executor: " + otherwise);
  };
  require(options_.timeout > Duration::zero(), "timeout must be positive");
  require(options_.max_output_bytes > 0, "max_output_bytes must be positive");
  std::error_code error;
  if (options_.work_dir.empty()) {
    std::string pattern =
        (std::filesystem::temp_directory_path(error) / "moderato-code-XXXXXX").string();
    require(::mkdtemp(pattern.data()) != nullptr, "no temporary folder can be made");
    options_.work_dir = pattern;
    own_folder_ = true;
  } else {
    std::filesystem::create_directories(options_.work_dir, error);
  }
  options_.work_dir = std::filesystem::canonical(options_.work_dir, error);
  require(!error && std::filesystem::is_directory(options_.work_dir, error),
          "the work folder cannot be made: " + error.message());
}

ProcessSpec CommandLineExecutor::spec(std::vector<std::string> command) const {
  ProcessSpec spec{.command = std::move(command),
                   .environment = options_.environment,
                   .folder = options_.work_dir,
                   .limits = {.timeout = options_.timeout,
                              .max_output_bytes = options_.max_output_bytes,
                              .max_memory_bytes = options_.max_memory_bytes,
                              .max_file_bytes = options_.max_file_bytes,
                              .max_processes = options_.max_processes}};
  spec.environment.emplace("HOME", options_.work_dir.string());
  return spec;
}

// Asked once: the kernel, the machine's settings and the container we may be in decide.
Result<void> CommandLineExecutor::sandbox_works(const std::stop_token& stop) {
  const std::scoped_lock lock(mutex_);
  if (sandbox_) return *sandbox_;
  std::string why;
  const std::string bwrap = find_program(options_.bubblewrap, program_folders);
  if (bwrap.empty()) {
    why = fmt::format("there is no program {}", options_.bubblewrap);
  } else if (auto tried = run_process(spec(in_sandbox(bwrap, options_, {"true"})), stop); !tried) {
    why = tried.error().message;
  } else if (tried->end == ProcessEnd::cancelled) {
    return fail(ErrorCode::cancelled, "cancelled before code was run");
  } else if (tried->exit_code != 0) {
    why = tried->err.substr(0, tried->err.find('\n'));
  } else {
    sandbox_.emplace();
    return {};
  }
  sandbox_ = fail(ErrorCode::configuration,
                  fmt::format("code is not run, because there is no sandbox for it: {}. Install "
                              "bubblewrap and allow user namespaces, or choose "
                              "Isolation::container, or write Isolation::unsandboxed to run it "
                              "without protection",
                              why));
  return *sandbox_;
}

Result<ProcessResult> CommandLineExecutor::run_isolated(const std::vector<std::string>& command,
                                                        const std::stop_token& stop) {
  switch (options_.isolation) {
    case Isolation::sandbox: {
      if (auto works = sandbox_works(stop); !works) return fail(std::move(works).error());
      return run_process(
          spec(in_sandbox(find_program(options_.bubblewrap, program_folders), options_, command)),
          stop);
    }
    case Isolation::container: {
      const std::string engine = find_program(options_.container_engine, program_folders);
      if (engine.empty()) {
        return fail(ErrorCode::configuration,
                    fmt::format("code is not run, because there is no container engine {}",
                                options_.container_engine));
      }
      static std::atomic<std::uint64_t> containers{0};  // names are the machine's
      const std::string name = fmt::format("moderato-{}-{}", ::getpid(), ++containers);
      auto result = run_process(client(in_container(engine, name, options_, command)), stop);
      if (result && result->end != ProcessEnd::exited) end_container(engine, name);
      return result;
    }
    case Isolation::unsandboxed:
      break;
  }
  const auto path = options_.environment.find("PATH");
  std::vector<std::string> found = command;
  found[0] =
      find_program(command[0], path != options_.environment.end() ? path->second : program_folders);
  if (found[0].empty()) {
    return fail(ErrorCode::configuration, fmt::format("there is no program {}", command[0]));
  }
  return run_process(spec(std::move(found)), stop);
}

// The engine's client was killed; the container goes on without it.
void CommandLineExecutor::end_container(const std::string& engine, const std::string& name) const {
  static_cast<void>(run_process(client({engine, "kill", name}), {}));
}

/// The engine's own client is no guest: it has no limits, and its configuration is not in a folder
/// that code can write to.
ProcessSpec CommandLineExecutor::client(std::vector<std::string> command) const {
  ProcessSpec client = spec(std::move(command));
  client.limits.max_memory_bytes = 0;
  client.limits.max_file_bytes = 0;
  client.limits.max_processes = 0;
  if (options_.environment.contains("HOME")) return client;
  client.environment.erase("HOME");
  std::array<char, 4096> text{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::getuid(), &entry, text.data(), text.size(), &found) == 0 && found != nullptr) {
    client.environment.emplace("HOME", found->pw_dir);
  }
  return client;
}

CodeResult CommandLineExecutor::worded(ProcessResult result) const {
  CodeResult code{.exit_code = result.exit_code};
  if (options_.legacy_output) {
    code.output = "\n" + (result.exit_code == 0 ? result.out : result.err);
  } else {
    code.output = result.err + result.out;
  }
  switch (result.end) {
    case ProcessEnd::exited:
    case ProcessEnd::cancelled:
      break;
    case ProcessEnd::timed_out:
      code.exit_code = options_.legacy_output ? 1 : timeout_exit;
      code.output = options_.legacy_output ? "\nTimeout" : code.output + "\nTimeout";
      break;
    case ProcessEnd::too_much_output:
      code.exit_code = 1;
      code.output += fmt::format("\n[cut: it wrote more than {} bytes and was ended]",
                                 options_.max_output_bytes);
      break;
    case ProcessEnd::too_many_processes:
      code.exit_code = 1;
      code.output += fmt::format("\n[it started more than {} processes and was ended]",
                                 options_.max_processes);
      break;
  }
  code.output = valid_utf8(code.output);
  return code;
}

Result<CodeResult> CommandLineExecutor::run_block(const CodeBlock& block,
                                                  const std::stop_token& stop) {
  const std::string language = language_name(block.language);
  if (options_.isolation == Isolation::unsandboxed && is_shell(language)) {
    if (const std::string why = dangerous_command(block.code); !why.empty()) {
      return fail(ErrorCode::invalid_request, "Potentially dangerous command detected: " + why);
    }
  }
  if (interpreter(language, {}).empty() && !is_only_saved(language)) {
    const bool nameless = language.empty() && options_.legacy_output;
    return CodeResult{1, "\nunknown language " + (nameless ? "unknown" : block.language)};
  }
  auto name = file_name_from(block.code);
  if (!name) return CodeResult{1, name.error().message};
  const std::string file =
      *name ? **name
            : fmt::format("tmp_code_{}.{}", Digest().add(block.code).hex(), extension(language));
  auto written = write_file(options_.work_dir, file, with_quiet_pip(language, block.code));
  if (!written && written.error().code == ErrorCode::invalid_request) {
    return CodeResult{1, written.error().message};
  }
  if (!written) return fail(std::move(written).error());
  if (is_only_saved(language)) {
    return CodeResult{0, fmt::format("Code saved to {}\n", (options_.work_dir / file).string())};
  }
  auto result = run_isolated(interpreter(language, file), stop);
  if (!result) return fail(std::move(result).error());
  if (result->end == ProcessEnd::cancelled) {
    return fail(ErrorCode::cancelled, "cancelled while code was running");
  }
  return worded(std::move(*result));
}

Result<CodeResult> CommandLineExecutor::execute(const std::vector<CodeBlock>& blocks,
                                                const std::stop_token& stop) {
  CodeResult all;
  for (const CodeBlock& block : blocks) {
    auto result = run_block(block, stop);
    if (!result) return result;
    all.exit_code = result->exit_code;
    all.output += result->output;
    if (all.exit_code != 0) break;
  }
  return all;
}

}  // namespace

std::shared_ptr<CodeExecutor> command_line_executor(CommandLineOptions options) {
  return std::make_shared<CommandLineExecutor>(std::move(options));
}

}  // namespace moderato
