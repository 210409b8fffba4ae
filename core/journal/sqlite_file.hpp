#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <moderato/core/result.hpp>
#include <moderato/core/time.hpp>

struct sqlite3;
struct sqlite3_stmt;

namespace moderato {

/// What an SQLite call failed with, as far as somebody acts on it.
enum class SqliteFailure : std::uint8_t { none, busy, full, constraint, corrupt, other };

class SqliteFile;

/// A prepared statement. Texts that are bound stay where they are until reset(). Not thread safe.
class SqliteStatement {
 public:
  SqliteStatement() = default;
  SqliteStatement(SqliteStatement&& other) noexcept;
  SqliteStatement& operator=(SqliteStatement&& other) noexcept;
  ~SqliteStatement();

  /// Parameters are numbered from 1.
  SqliteStatement& bind(int parameter, std::int64_t value) noexcept;
  SqliteStatement& bind(int parameter, std::string_view value) noexcept;
  /// True: there is a row, to be read with number() and text(), whose columns count from 0.
  [[nodiscard]] Result<bool> step();
  /// For a statement that gives no rows: step and reset.
  Result<void> run();
  void reset() noexcept;
  [[nodiscard]] std::int64_t number(int column) const noexcept;
  /// Valid until the next step or reset.
  [[nodiscard]] std::string_view text(int column) const noexcept;

 private:
  friend class SqliteFile;
  SqliteStatement(SqliteFile& file, sqlite3_stmt* statement)
      : file_(&file), statement_(statement) {}
  // Unused where the library is built without SQLite.
  [[maybe_unused]] SqliteFile* file_ = nullptr;
  [[maybe_unused]] sqlite3_stmt* statement_ = nullptr;
};

/// One connection to an SQLite database. The only place that knows SQLite's interface. Errors are
/// all `storage` and say in words what is wrong and what to do. Not thread safe.
class SqliteFile {
 public:
  enum class Access : std::uint8_t { read_write, read_only };

  /// With read_write the file is made if it is not there. `busy_timeout`: how long a call waits for
  /// other processes.
  static Result<std::unique_ptr<SqliteFile>> open(const std::string& path, Access access,
                                                  Duration busy_timeout);
  ~SqliteFile();
  SqliteFile(const SqliteFile&) = delete;
  SqliteFile& operator=(const SqliteFile&) = delete;

  /// Readers and a writer from now on do not wait for each other (journal_mode=WAL). Waits like any
  /// other call for processes that have the file just then.
  Result<void> use_write_ahead_log();
  /// Runs statements that give nothing back.
  Result<void> execute(const char* sql);
  /// The first column of the first row; 0 if there is none.
  Result<std::int64_t> number(std::string_view sql);
  Result<SqliteStatement> prepare(std::string_view sql);

  /// Of the last call that failed.
  [[nodiscard]] SqliteFailure failure() const noexcept { return failure_; }

 private:
  friend class SqliteStatement;
  explicit SqliteFile(std::string path) : path_(std::move(path)) {}
  tl::unexpected<Error> failed(int code);

  std::string path_;
  [[maybe_unused]] Duration busy_timeout_{};
  [[maybe_unused]] sqlite3* connection_ = nullptr;
  SqliteFailure failure_ = SqliteFailure::none;
};

}  // namespace moderato
