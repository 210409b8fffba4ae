#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace moderato {

/// Adds `moderato chat`. The function returned runs it and gives the exit code.
[[nodiscard]] std::function<int()> add_chat_command(CLI::App& program);

}  // namespace moderato
