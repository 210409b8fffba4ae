#include "run_journal.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace moderato {

void add_journal_option(CLI::App& app, std::string& journal) {
  app.add_option("--journal", journal, "Journal file; else $MODERATO_JOURNAL, else moderato.db");
}

std::shared_ptr<SqliteJournal> open_journal(const std::string& path, bool for_writing) {
  std::string file = path;
  const char* variable = std::getenv("MODERATO_JOURNAL");
  if (file.empty() && variable != nullptr) file = variable;
  if (file.empty()) file = "moderato.db";
  if (!for_writing && !std::filesystem::exists(file)) {
    throw std::runtime_error(fmt::format(
        "there is no journal {}; name one with --journal FILE or $MODERATO_JOURNAL", file));
  }
  auto journal = SqliteJournal::open({.path = file, .read_only = !for_writing});
  if (!journal) throw std::runtime_error(journal.error().message);
  return *journal;
}

RunInfo find_run(SqliteJournal& journal, const std::string& name) {
  auto runs = journal.runs();
  if (!runs) throw std::runtime_error(runs.error().message);
  std::string known;
  for (RunInfo& run : *runs) {
    if (run.id == name) return std::move(run);
    known += (known.empty() ? "" : ", ") + run.id;
  }
  throw std::runtime_error(fmt::format("there is no run \"{}\" in the journal; there are: {}", name,
                                       known.empty() ? "none" : known));
}

}  // namespace moderato
