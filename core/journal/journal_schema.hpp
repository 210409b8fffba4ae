#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <string>

#include <moderato/core/journal/sqlite_file.hpp>

namespace moderato {

/// "modr", the application id in the header of every journal file.
inline constexpr std::int64_t journal_application_id = 0x6d6f6472;
/// The version of the tables that this library writes.
[[nodiscard]] std::int64_t journal_schema_version() noexcept;

/// Makes the tables of a new file, or brings an older one up to date, in one transaction. Errors:
/// storage; configuration, if the file belongs to a newer moderato or to somebody else.
Result<void> migrate_journal(SqliteFile& file, const std::string& path);
/// The same look without a write; an older file is an error, too.
Result<void> check_journal(SqliteFile& file, const std::string& path);

/// The key of a run's n-th row in a table: rows of a run lie together, in their order, in the one
/// B-tree that a table is.
[[nodiscard]] constexpr std::int64_t row_key(std::int64_t run, std::int64_t number) noexcept {
  return run * (std::int64_t{1} << 32) + number;
}

}  // namespace moderato
