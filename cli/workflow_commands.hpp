#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace moderato {

/// Adds `moderato run FILE`. The function returned runs it and gives the exit code.
[[nodiscard]] std::function<int()> add_run_command(CLI::App& program);

/// Adds `moderato check FILE…`. The function returned runs it and gives the exit code.
[[nodiscard]] std::function<int()> add_check_command(CLI::App& program);

}  // namespace moderato
