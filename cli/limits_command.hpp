#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace moderato {

/// Adds `moderato limits`. The function returned runs it and gives the exit code.
[[nodiscard]] std::function<int()> add_limits_command(CLI::App& program);

}  // namespace moderato
