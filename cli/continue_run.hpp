#pragma once

#include <memory>
#include <moderato/core/effect.hpp>
#include <moderato/core/journal/sqlite_journal.hpp>
#include <string>

namespace moderato {

/// How a run that is in a journal goes on, or is shown again.
struct ContinueFlags {
  std::string run;
  std::string journal;
  JournalMode mode = JournalMode::resume;
  InterruptedTools interrupted_tools = InterruptedTools::stop;
  std::string base_url;  ///< Empty: the one that it had.
  bool json = false;
  std::string colour = "auto";
};

/// What a run was, as its journal describes it.
struct RecordedRun {
  std::shared_ptr<SqliteJournal> journal{};
  std::string id{};
  Json program{};
};

/// Runs it again from its journal, whatever command had begun it, and gives the exit code.
[[nodiscard]] int continue_run(const ContinueFlags& how);

/// Says on stderr what a resumed run begins with: what was under way in it, and in the runs within
/// it (`effects`: its own).
void print_interrupted(const EffectLog& effects, SqliteJournal& journal, const std::string& run);

}  // namespace moderato
