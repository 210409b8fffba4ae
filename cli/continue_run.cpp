#include "continue_run.hpp"

#include <fmt/format.h>

#include <map>
#include <stdexcept>
#include <string_view>
#include <vector>

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

namespace {

void print_one(const EffectRecord& effect, std::string_view place) {
  fmt::print(
      stderr, "interrupted: {} of {}{}{}\n", to_string(effect.kind), effect.name, place,
      effect.kind == EffectKind::model_reply ? ": asked again, so it may be paid for twice" : "");
}

/// What had begun in a run and not ended.
std::map<std::uint64_t, EffectRecord> open_effects(const std::vector<EffectRecord>& records) {
  std::map<std::uint64_t, EffectRecord> open;
  for (const EffectRecord& effect : records) {
    if (effect.phase == EffectRecord::Phase::finished) {
      open.erase(effect.step);
    } else if (effect.kind != EffectKind::external_stop) {
      open[effect.step] = effect;
    }
  }
  return open;
}

}  // namespace

void print_interrupted(const EffectLog& effects, SqliteJournal& journal, const std::string& run) {
  for (const EffectRecord& effect : effects.interrupted()) print_one(effect, "");
  const auto runs = journal.runs();
  if (!runs) return;
  for (const RunInfo& other : *runs) {
    if (!other.id.starts_with(run + "/")) continue;
    const auto records = journal.read(other.id);
    if (!records) continue;
    for (const auto& [step, effect] : open_effects(*records)) {
      print_one(effect, fmt::format(" in {}", other.id));
    }
  }
}

}  // namespace moderato
