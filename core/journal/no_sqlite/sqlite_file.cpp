#include <moderato/core/journal/sqlite_file.hpp>

// Compiled instead of sqlite/sqlite_file.cpp where the library is built without SQLite
// (MODERATO_SQLITE=OFF): nothing can be opened, so the rest is never called.

namespace moderato {
namespace {

tl::unexpected<Error> absent() {
  return fail(ErrorCode::configuration,
              "this build of moderato has no SQLite (CMake option MODERATO_SQLITE)");
}

}  // namespace

SqliteStatement::SqliteStatement(SqliteStatement&&) noexcept = default;
SqliteStatement& SqliteStatement::operator=(SqliteStatement&&) noexcept = default;
SqliteStatement::~SqliteStatement() = default;
SqliteStatement& SqliteStatement::bind(int, std::int64_t) noexcept {
  return *this;
}
SqliteStatement& SqliteStatement::bind(int, std::string_view) noexcept {
  return *this;
}
Result<bool> SqliteStatement::step() {
  return absent();
}
Result<void> SqliteStatement::run() {
  return absent();
}
void SqliteStatement::reset() noexcept {}
std::int64_t SqliteStatement::number(int) const noexcept {
  return 0;
}
std::string_view SqliteStatement::text(int) const noexcept {
  return {};
}

Result<std::unique_ptr<SqliteFile>> SqliteFile::open(const std::string&, Access, Duration) {
  return absent();
}
SqliteFile::~SqliteFile() = default;
Result<void> SqliteFile::use_write_ahead_log() {
  return absent();
}
Result<void> SqliteFile::execute(const char*) {
  return absent();
}
Result<std::int64_t> SqliteFile::number(std::string_view) {
  return absent();
}
Result<SqliteStatement> SqliteFile::prepare(std::string_view) {
  return absent();
}
tl::unexpected<Error> SqliteFile::failed(int) {
  return absent();
}

}  // namespace moderato
