#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "continue_run.hpp"

namespace moderato {

/// Adds the subcommand; what is returned runs it and gives the exit code.
[[nodiscard]] std::function<int()> add_chat_command(CLI::App& program);

/// Runs a recorded chat again from its journal and gives the exit code.
[[nodiscard]] int continue_chat(const ContinueFlags& how, const RecordedRun& run);

}  // namespace moderato
