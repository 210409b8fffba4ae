#include <moderato/core/journal/journal_schema.hpp>

#include <fmt/format.h>

#include <array>

// The file says in `user_version` how many of these steps it has seen. A new version of the tables
// is one more step at the end; steps that were released are never changed. A file that has seen
// more steps than there are here was written by a newer moderato, and is left alone.

namespace moderato {
namespace {

constexpr std::array steps{
    // 1: runs and their effects. Keys: row_key(run, number).
    R"(CREATE TABLE runs (
         id INTEGER PRIMARY KEY,
         name TEXT NOT NULL UNIQUE,
         created_ms INTEGER NOT NULL,
         program TEXT NOT NULL DEFAULT '',
         owner TEXT NOT NULL DEFAULT '') STRICT;
       CREATE TABLE effects (
         key INTEGER PRIMARY KEY,
         step INTEGER NOT NULL,
         phase INTEGER NOT NULL,
         kind TEXT NOT NULL,
         name TEXT NOT NULL,
         digest TEXT NOT NULL,
         payload TEXT NOT NULL,
         at_ns INTEGER NOT NULL,
         checksum INTEGER NOT NULL) STRICT;)",
    // 2: the ledger and what observers are told. `epoch` counts the processes that had the run.
    R"(ALTER TABLE runs ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
       CREATE TABLE attempts (key INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT;
       CREATE TABLE events (key INTEGER PRIMARY KEY, epoch INTEGER NOT NULL,
                            event TEXT NOT NULL) STRICT;)",
    // 3: rows stand in the order in which they came, whatever their run, and an index finds them by
    // key. By key itself the rows of 1,000 runs that are written at once lie on 1,000 pages, and a
    // commit writes whole pages: three times the CPU.
    R"(ALTER TABLE effects RENAME TO old_effects;
       CREATE TABLE effects (
         key INTEGER NOT NULL UNIQUE,
         step INTEGER NOT NULL,
         phase INTEGER NOT NULL,
         kind TEXT NOT NULL,
         name TEXT NOT NULL,
         digest TEXT NOT NULL,
         payload TEXT NOT NULL,
         at_ns INTEGER NOT NULL,
         checksum INTEGER NOT NULL) STRICT;
       INSERT INTO effects SELECT * FROM old_effects ORDER BY key;
       DROP TABLE old_effects;
       ALTER TABLE attempts RENAME TO old_attempts;
       CREATE TABLE attempts (key INTEGER NOT NULL UNIQUE, record TEXT NOT NULL) STRICT;
       INSERT INTO attempts SELECT * FROM old_attempts ORDER BY key;
       DROP TABLE old_attempts;
       ALTER TABLE events RENAME TO old_events;
       CREATE TABLE events (key INTEGER NOT NULL UNIQUE, epoch INTEGER NOT NULL,
                            event TEXT NOT NULL) STRICT;
       INSERT INTO events SELECT * FROM old_events ORDER BY key;
       DROP TABLE old_events;)",
};

tl::unexpected<Error> not_ours(const std::string& path) {
  return fail(
      ErrorCode::configuration,
      fmt::format("{} is a database of another program; give the journal another name", path));
}

tl::unexpected<Error> newer(const std::string& path, std::int64_t version) {
  return fail(ErrorCode::configuration,
              fmt::format("{} was written by a newer moderato (its tables have version {}, this "
                          "program knows {}); it was left as it is, use the newer program",
                          path, version, steps.size()));
}

/// The version of the file, 0 for an empty one. To be called in a transaction: between two of its
/// questions another process may make the tables.
Result<std::int64_t> version_in_transaction(SqliteFile& file, const std::string& path) {
  auto application = file.number("PRAGMA application_id");
  if (!application) return application;
  if (*application != journal_application_id) {
    auto tables = file.number("SELECT count(*) FROM sqlite_schema");
    if (!tables) return tables;
    if (*application != 0 || *tables != 0) return not_ours(path);
    return 0;
  }
  auto version = file.number("PRAGMA user_version");
  if (version && *version > journal_schema_version()) return newer(path, *version);
  return version;
}

Result<std::int64_t> version_of(SqliteFile& file, const std::string& path) {
  if (auto begun = file.execute("BEGIN"); !begun) {
    return tl::unexpected<Error>(std::move(begun).error());
  }
  auto version = version_in_transaction(file, path);
  (void)file.execute("ROLLBACK");
  return version;
}

Result<void> take_steps(SqliteFile& file, const std::string& path) {
  auto version = version_in_transaction(file, path);  // again: another may have been quicker
  if (!version) return tl::unexpected<Error>(std::move(version).error());
  for (auto step = static_cast<std::size_t>(*version); step < steps.size(); ++step) {
    if (auto taken = file.execute(steps[step]); !taken) return taken;
  }
  const std::string marks = fmt::format("PRAGMA application_id={}; PRAGMA user_version={}",
                                        journal_application_id, steps.size());
  return file.execute(marks.c_str());
}

}  // namespace

std::int64_t journal_schema_version() noexcept {
  return static_cast<std::int64_t>(steps.size());
}

Result<void> migrate_journal(SqliteFile& file, const std::string& path) {
  auto version = version_of(file, path);
  if (!version) return tl::unexpected<Error>(std::move(version).error());
  if (*version == journal_schema_version()) return {};
  if (auto begun = file.execute("BEGIN IMMEDIATE"); !begun) return begun;
  auto taken = take_steps(file, path);
  if (taken) return file.execute("COMMIT");
  (void)file.execute("ROLLBACK");
  return taken;
}

Result<void> check_journal(SqliteFile& file, const std::string& path) {
  auto version = version_of(file, path);
  if (!version) return tl::unexpected<Error>(std::move(version).error());
  if (*version == journal_schema_version()) return {};
  if (*version == 0) {
    return fail(ErrorCode::configuration, fmt::format("{} is empty: no journal yet", path));
  }
  return fail(ErrorCode::configuration,
              fmt::format("{} has tables of version {}, this program reads {}; open it once for "
                          "writing, which brings it up to date",
                          path, *version, steps.size()));
}

}  // namespace moderato
