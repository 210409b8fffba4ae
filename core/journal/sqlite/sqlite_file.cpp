#include <moderato/core/journal/sqlite_file.hpp>

#include <fmt/format.h>
#include <sqlite3.h>

#include <chrono>
#include <utility>

namespace moderato {
namespace {

SqliteFailure failure_of(int code) noexcept {
  switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
      return SqliteFailure::none;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return SqliteFailure::busy;
    case SQLITE_FULL:
      return SqliteFailure::full;
    case SQLITE_CONSTRAINT:
      return SqliteFailure::constraint;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return SqliteFailure::corrupt;
    default:
      return SqliteFailure::other;
  }
}

/// What a person should do about it.
std::string advice(int code, Duration busy_timeout) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return "no room is left (the disk is full, or max_bytes is reached); make room and resume";
    case SQLITE_READONLY:
      return "it cannot be written; look at its permissions and at those of its folder";
    case SQLITE_CANTOPEN:
      return "it cannot be opened; look at the path and the permissions";
    case SQLITE_CORRUPT:
      return "the file is damaged; copy it, and try `sqlite3 FILE .recover` on the copy";
    case SQLITE_NOTADB:
      return "it is no SQLite database, or its beginning is damaged";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return fmt::format("another process has been writing for longer than {:g} s",
                         std::chrono::duration<double>(busy_timeout).count());
    case SQLITE_IOERR:
      return "the file could not be read or written";
    default:
      return "SQLite refused";
  }
}

}  // namespace

SqliteStatement::SqliteStatement(SqliteStatement&& other) noexcept
    : file_(other.file_), statement_(std::exchange(other.statement_, nullptr)) {}

SqliteStatement& SqliteStatement::operator=(SqliteStatement&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(statement_, other.statement_);
  return *this;
}

SqliteStatement::~SqliteStatement() {
  sqlite3_finalize(statement_);
}

SqliteStatement& SqliteStatement::bind(int parameter, std::int64_t value) noexcept {
  sqlite3_bind_int64(statement_, parameter, value);
  return *this;
}

SqliteStatement& SqliteStatement::bind(int parameter, std::string_view value) noexcept {
  sqlite3_bind_text64(statement_, parameter, value.data() == nullptr ? "" : value.data(),
                      value.size(), SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

Result<bool> SqliteStatement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return file_->failed(code);
}

Result<void> SqliteStatement::run() {
  auto done = step();
  reset();
  if (!done) return tl::unexpected<Error>(std::move(done).error());
  return {};
}

void SqliteStatement::reset() noexcept {
  sqlite3_reset(statement_);
}

std::int64_t SqliteStatement::number(int column) const noexcept {
  return sqlite3_column_int64(statement_, column);
}

std::string_view SqliteStatement::text(int column) const noexcept {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return {};
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

Result<std::unique_ptr<SqliteFile>> SqliteFile::open(const std::string& path, Access access,
                                                     Duration busy_timeout) {
  auto file = std::unique_ptr<SqliteFile>(new SqliteFile(path));
  const int flags = access == Access::read_only ? SQLITE_OPEN_READONLY
                                                : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  const int code = sqlite3_open_v2(path.c_str(), &file->connection_,
                                   flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  if (code != SQLITE_OK) return file->failed(code);
  file->busy_timeout_ = busy_timeout;
  sqlite3_busy_timeout(
      file->connection_,
      static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(busy_timeout).count()));
  if (auto set = file->execute("PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF"); !set) {
    return tl::unexpected<Error>(std::move(set).error());
  }
  return file;
}

SqliteFile::~SqliteFile() {
  sqlite3_close_v2(connection_);
}

// SQLite does not ask its busy handler here: two connections that both read the file and both want
// to change its mode would wait for each other. One of them gets SQLITE_BUSY at once, and may try
// again, for by then it has let go of the file.
Result<void> SqliteFile::use_write_ahead_log() {
  for (Duration waited{};; waited += std::chrono::milliseconds(sqlite3_sleep(1))) {
    auto changed = execute("PRAGMA journal_mode=WAL");
    if (changed || failure_ != SqliteFailure::busy || waited >= busy_timeout_) return changed;
  }
}

Result<void> SqliteFile::execute(const char* sql) {
  const int code = sqlite3_exec(connection_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failed(code);
  return {};
}

Result<std::int64_t> SqliteFile::number(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return tl::unexpected<Error>(std::move(statement).error());
  auto row = statement->step();
  if (!row) return tl::unexpected<Error>(std::move(row).error());
  return *row ? statement->number(0) : 0;
}

Result<SqliteStatement> SqliteFile::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(connection_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return failed(code);
  return SqliteStatement(*this, statement);
}

tl::unexpected<Error> SqliteFile::failed(int code) {
  failure_ = failure_of(code);
  const char* words = connection_ != nullptr ? sqlite3_errmsg(connection_) : sqlite3_errstr(code);
  return fail(ErrorCode::storage,
              fmt::format("{}: {} ({})", path_, advice(code, busy_timeout_), words));
}

}  // namespace moderato
