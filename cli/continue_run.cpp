#include "continue_run.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "chat_command.hpp"
#include "run_journal.hpp"
#include "workflow_commands.hpp"

namespace moderato {

int continue_run(const ContinueFlags& how) {
  RecordedRun run{.journal = open_journal(how.journal, how.mode != JournalMode::replay)};
  const RunInfo info = find_run(*run.journal, how.run);
  run.id = info.id;
  if (info.program.empty()) {
    throw std::runtime_error(fmt::format(
        "run \"{}\" was made by a program of yours: only that program can go on with it "
        "(SessionOptions::journal_mode)",
        info.id));
  }
  auto program = parse_json(info.program, "the run's program");
  if (!program) throw std::runtime_error(program.error().message);
  run.program = std::move(*program);
  const bool workflow = run.program.is_object() && run.program.contains("workflow");
  return workflow ? continue_workflow(how, run) : continue_chat(how, run);
}

void print_interrupted(const EffectLog& effects) {
  for (const EffectRecord& effect : effects.interrupted()) {
    fmt::print(
        stderr, "interrupted: {} of {}{}\n", to_string(effect.kind), effect.name,
        effect.kind == EffectKind::model_reply ? ": asked again, so it may be paid for twice" : "");
  }
}

}  // namespace moderato
