#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <functional>
#include <map>
#include <moderato/core/version.hpp>
#include <string>

#include "chat_command.hpp"
#include "doctor_command.hpp"
#include "ledger_command.hpp"
#include "limits_command.hpp"
#include "provider_command.hpp"
#include "replay_command.hpp"
#include "report_command.hpp"
#include "resume_command.hpp"
#include "workflow_commands.hpp"

int main(int argc, char** argv) {
  CLI::App program("Conversations of agents that end, keep their budget and never meet a 429.",
                   "moderato");
  program.set_version_flag("--version", MODERATO_VERSION);
  program.require_subcommand(1);
  program.footer("Exit codes: 0 done, 1 a failure, 2 wrong flags, 130 interrupted.");
  const std::map<std::string, std::function<int()>> commands{
      {"chat", moderato::add_chat_command(program)},
      {"provider", moderato::add_provider_command(program)},
      {"resume", moderato::add_resume_command(program)},
      {"ledger", moderato::add_ledger_command(program)},
      {"limits", moderato::add_limits_command(program)},
      {"doctor", moderato::add_doctor_command(program)},
      {"report", moderato::add_report_command(program)},
      {"replay", moderato::add_replay_command(program)},
      {"run", moderato::add_run_command(program)},
      {"check", moderato::add_check_command(program)},
  };
  if (argc > 1 && argv[1][0] != '-' && !commands.contains(argv[1])) {
    std::string known;
    for (const auto& [name, run] : commands) known += (known.empty() ? "" : ", ") + name;
    fmt::print(stderr, "moderato: there is no command \"{}\"; there are: {}\n", argv[1], known);
    return 2;
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : 2;
  }
  try {
    return commands.at(program.get_subcommands().front()->get_name())();
  } catch (const std::exception& error) {
    fmt::print(stderr, "moderato: {}\n", error.what());
    return 1;
  }
}
