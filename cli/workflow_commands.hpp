#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "continue_run.hpp"

namespace moderato {

/// Adds `moderato run FILE`. The function returned runs it and gives the exit code.
[[nodiscard]] std::function<int()> add_run_command(CLI::App& program);

/// Runs a recorded workflow again from its journal and gives the exit code.
[[nodiscard]] int continue_workflow(const ContinueFlags& how, const RecordedRun& run);

/// Adds `moderato check FILE…`. The function returned runs it and gives the exit code.
[[nodiscard]] std::function<int()> add_check_command(CLI::App& program);

}  // namespace moderato
