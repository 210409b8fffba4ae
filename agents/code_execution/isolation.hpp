#pragma once

// Private header of the library: not installed.

#include <string>
#include <vector>

#include <moderato/agents/code_execution/command_line_executor.hpp>

namespace moderato {

/// Where the work folder is seen inside a sandbox and a container.
inline constexpr const char* inner_work_dir = "/workspace";

/// `command` behind bubblewrap (`bwrap`: its path): no network, no view of other processes, the
/// system's programs read-only, nothing else of the machine but the work folder.
[[nodiscard]] std::vector<std::string> in_sandbox(const std::string& bwrap,
                                                  const CommandLineOptions& options,
                                                  const std::vector<std::string>& command);

/// `command` in a fresh container called `name` (`engine`: the path of docker or podman).
[[nodiscard]] std::vector<std::string> in_container(const std::string& engine,
                                                    const std::string& name,
                                                    const CommandLineOptions& options,
                                                    const std::vector<std::string>& command);

}  // namespace moderato
