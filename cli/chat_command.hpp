#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <moderato/core/effect.hpp>
#include <string>

namespace moderato {

/// Adds the subcommand; what is returned runs it and gives the exit code.
[[nodiscard]] std::function<int()> add_chat_command(CLI::App& program);

/// How a chat that is in a journal goes on.
struct ContinueFlags {
  std::string run;
  std::string journal;
  JournalMode mode = JournalMode::resume;
  InterruptedTools interrupted_tools = InterruptedTools::stop;
  std::string base_url;  ///< Empty: the one that it had.
  bool json = false;
  std::string colour = "auto";
};

/// Runs it again from its journal and gives the exit code.
[[nodiscard]] int continue_chat(const ContinueFlags& how);

}  // namespace moderato
