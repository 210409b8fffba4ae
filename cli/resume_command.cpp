#include "resume_command.hpp"

#include <map>
#include <memory>

#include "continue_run.hpp"
#include "run_journal.hpp"

namespace moderato {

std::function<int()> add_resume_command(CLI::App& program) {
  const auto flags = std::make_shared<ContinueFlags>();
  CLI::App* app =
      program.add_subcommand("resume", "Goes on with a run whose process ended, from its journal");
  app->add_option("run", flags->run, "Name of the run")->required();
  add_journal_option(*app, flags->journal);
  const std::map<std::string, InterruptedTools> choices{
      {"stop", InterruptedTools::stop},
      {"run-again", InterruptedTools::run_again},
      {"tell-model", InterruptedTools::tell_model}};
  app->add_option("--interrupted-tools", flags->interrupted_tools,
                  "What becomes of a tool that was running: stop, run-again or tell-model")
      ->transform(CLI::CheckedTransformer(choices, CLI::ignore_case));
  app->add_option("--base-url", flags->base_url, "Another endpoint than the run had");
  app->add_flag("--json", flags->json, "Print events as JSON lines, and the summary on stderr");
  app->add_option("--colour", flags->colour, "Colours")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app->footer(
      "What the journal has is not done again: no model is asked and no person. A model call that "
      "was\nunder way is made again, and named, for it may be paid for twice.\n"
      "Exit codes: those of the command that began it.");
  return [flags] { return continue_run(*flags); };
}

}  // namespace moderato
