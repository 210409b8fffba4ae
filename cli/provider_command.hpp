#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace moderato {

/// Adds `moderato provider`. The function returned runs it and gives the exit code.
[[nodiscard]] std::function<int()> add_provider_command(CLI::App& program);

}  // namespace moderato
