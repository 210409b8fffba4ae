#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <moderato/core/journal/sqlite_journal.hpp>
#include <string>

namespace moderato {

/// --journal FILE of commands that read one; left out: $MODERATO_JOURNAL, else moderato.db.
void add_journal_option(CLI::App& app, std::string& journal);

/// Opens the journal, or throws std::runtime_error with what is wrong. Without `for_writing` the
/// file has to be there and stays as it is.
[[nodiscard]] std::shared_ptr<SqliteJournal> open_journal(const std::string& path,
                                                          bool for_writing);
/// The run of that name; throws std::runtime_error that names those that there are.
[[nodiscard]] RunInfo find_run(SqliteJournal& journal, const std::string& name);

}  // namespace moderato
