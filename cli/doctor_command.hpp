#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace moderato {

/// Adds the subcommand; what is returned runs it and gives the exit code.
[[nodiscard]] std::function<int()> add_doctor_command(CLI::App& program);

}  // namespace moderato
