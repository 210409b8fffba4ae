#include <moderato/agents/code_execution/isolation.hpp>

#include <unistd.h>

#include <fmt/core.h>

#include <filesystem>

// What a sandbox shows
//
// To bind the whole file system read-only is the easy way, and shows the program every key and
// password file that its user may read. So the sandbox begins empty, and gets the folders that
// programs need: /usr with its links, the dynamic linker's cache, certificates, /proc and /dev of
// its own, a bounded /tmp and /dev/shm, and the work folder; nothing else can be written to (an
// empty root is memory, too). Namespaces hide the network, other processes and
// shared memory; capabilities are dropped (a service may run as root), and no new user namespace
// can be made inside, which is where most ways out of a sandbox begin.

namespace moderato {
namespace {

constexpr std::uint64_t scratch_bytes = 256ULL << 20U;

void add(std::vector<std::string>& words, std::initializer_list<std::string> more) {
  words.insert(words.end(), more);
}

// On most systems /bin is a link into /usr.
void show_system_folder(std::vector<std::string>& words, const std::string& folder) {
  std::error_code error;
  if (std::filesystem::is_symlink(folder, error)) {
    add(words, {"--symlink", std::filesystem::read_symlink(folder, error).string(), folder});
  } else if (std::filesystem::exists(folder, error)) {
    add(words, {"--ro-bind", folder, folder});
  }
}

}  // namespace

std::vector<std::string> in_sandbox(const std::string& bwrap, const CommandLineOptions& options,
                                    const std::vector<std::string>& command) {
  std::vector<std::string> words{bwrap,
                                 "--unshare-all",
                                 "--unshare-user",
                                 "--disable-userns",
                                 "--die-with-parent",
                                 "--new-session",
                                 "--cap-drop",
                                 "ALL"};
  if (options.network) words.emplace_back("--share-net");
  add(words, {"--ro-bind", "/usr", "/usr"});
  for (const char* folder : {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) {
    show_system_folder(words, folder);
  }
  for (const char* path : {"/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl", "/etc/localtime"}) {
    add(words, {"--ro-bind-try", path, path});
  }
  if (options.network) {
    for (const char* path : {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"}) {
      add(words, {"--ro-bind-try", path, path});
    }
  }
  for (const std::filesystem::path& path : options.readable) {
    add(words, {"--ro-bind", path.string(), path.string()});
  }
  const std::string scratch = std::to_string(scratch_bytes);
  add(words, {"--proc",
              "/proc",
              "--dev",
              "/dev",
              "--size",
              scratch,
              "--tmpfs",
              "/dev/shm",
              "--size",
              scratch,
              "--tmpfs",
              "/tmp",
              "--bind",
              options.work_dir.string(),
              inner_work_dir,
              "--remount-ro",
              "/dev",
              "--remount-ro",
              "/",
              "--chdir",
              inner_work_dir,
              "--setenv",
              "HOME",
              inner_work_dir,
              "--"});
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

std::vector<std::string> in_container(const std::string& engine, const std::string& name,
                                      const CommandLineOptions& options,
                                      const std::vector<std::string>& command) {
  std::vector<std::string> words{engine,
                                 "run",
                                 "--rm",
                                 "--name",
                                 name,
                                 "--network",
                                 options.network ? "bridge" : "none",
                                 "--read-only",
                                 "--tmpfs",
                                 fmt::format("/tmp:size={}", scratch_bytes),
                                 "--cap-drop",
                                 "ALL",
                                 "--security-opt",
                                 "no-new-privileges",
                                 "--user",
                                 fmt::format("{}:{}", ::getuid(), ::getgid()),
                                 "--volume",
                                 options.work_dir.string() + ':' + inner_work_dir,
                                 "--workdir",
                                 inner_work_dir};
  if (options.max_processes > 0) {
    add(words, {"--pids-limit", std::to_string(options.max_processes)});
  }
  if (options.max_memory_bytes > 0) {
    add(words, {"--memory", std::to_string(options.max_memory_bytes)});
  }
  for (const auto& [variable, value] : options.environment) {
    if (variable != "PATH") add(words, {"--env", variable + '=' + value});
  }
  add(words, {"--env", std::string("HOME=") + inner_work_dir, options.container_image});
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

}  // namespace moderato
