#include "replay_command.hpp"

#include <memory>

#include "continue_run.hpp"
#include "run_journal.hpp"

namespace moderato {

std::function<int()> add_replay_command(CLI::App& program) {
  const auto flags = std::make_shared<ContinueFlags>();
  flags->mode = JournalMode::replay;
  CLI::App* app =
      program.add_subcommand("replay", "Shows a run again from its journal, without a network");
  app->add_option("run", flags->run, "Name of the run")->required();
  add_journal_option(*app, flags->journal);
  app->add_flag("--json", flags->json, "Print events as JSON lines, and the summary on stderr");
  app->add_option("--colour", flags->colour, "Colours")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app->footer(
      "Everything is computed anew from the recorded replies; where that differs from the "
      "recording,\nthe replay stops and shows both sides. Exit codes: those of the command that "
      "began it.");
  return [flags] { return continue_run(*flags); };
}

}  // namespace moderato
