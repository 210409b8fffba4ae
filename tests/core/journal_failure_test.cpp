#include <doctest/doctest.h>
#include <unistd.h>

#include <fstream>
#include <moderato/core/journal/journal_schema.hpp>
#include <moderato/core/journal/sqlite_journal.hpp>
#include <moderato/core/session.hpp>
#include <moderato/core/simulation.hpp>
#include <support/temporary_folder.hpp>

using moderato::test::TemporaryFolder;

namespace moderato {
namespace {

using namespace std::chrono_literals;

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

EffectRecord reply(std::uint64_t step, std::string text) {
  return {.step = step, .kind = EffectKind::model_reply, .payload = std::move(text)};
}

void write(const std::string& path, int records, std::size_t size) {
  auto journal = SqliteJournal::open({.path = path, .durability = Durability::process});
  REQUIRE(journal);
  for (int i = 1; i <= records; ++i) {
    REQUIRE((*journal)->append("run", reply(static_cast<std::uint64_t>(i),
                                            std::string(size, static_cast<char>('a' + i % 26)))));
  }
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void overwrite(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// A file that an older or a newer version wrote.
void execute(const std::string& path, const std::string& sql) {
  auto file = SqliteFile::open(path, SqliteFile::Access::read_write, 1s);
  REQUIRE(file);
  const auto done = (*file)->execute(sql.c_str());
  REQUIRE_MESSAGE(done.has_value(), done.error().message);
}

Error error_of(const Result<std::shared_ptr<SqliteJournal>>& opened) {
  REQUIRE_FALSE(opened.has_value());
  return opened.error();
}

}  // namespace

TEST_CASE("a file of a newer version is refused and left as it is") {
  const TemporaryFolder folder;
  const std::string path = folder / "j.db";
  write(path, 1, 10);
  execute(path, "PRAGMA user_version=99");
  for (const bool read_only : {false, true}) {
    const Error error = error_of(SqliteJournal::open({.path = path, .read_only = read_only}));
    CHECK(error.code == ErrorCode::configuration);
    CHECK(has(error.message, "newer moderato"));
    CHECK(has(error.message, "99"));
  }
  auto file = SqliteFile::open(path, SqliteFile::Access::read_only, 1s);
  CHECK(*(*file)->number("PRAGMA user_version") == 99);
  CHECK(*(*file)->number("SELECT count(*) FROM effects") == 1);
}

TEST_CASE("a file of the first version is brought up to date and keeps its runs") {
  const TemporaryFolder folder;
  const std::string path = folder / "j.db";
  write(path, 3, 10);
  execute(path,
          "DROP TABLE attempts; DROP TABLE events; ALTER TABLE runs DROP COLUMN epoch; "
          "ALTER TABLE effects RENAME TO new_effects; "
          "CREATE TABLE effects (key INTEGER PRIMARY KEY, step INTEGER NOT NULL, phase INTEGER NOT "
          "NULL, kind TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, payload TEXT NOT "
          "NULL, at_ns INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT; "
          "INSERT INTO effects SELECT * FROM new_effects; DROP TABLE new_effects; "
          "PRAGMA user_version=1");
  const Error error = error_of(SqliteJournal::open({.path = path, .read_only = true}));
  CHECK(has(error.message, "version 1"));
  auto journal = SqliteJournal::open({.path = path});
  REQUIRE(journal);
  CHECK((*journal)->read("run")->size() == 3);
  (*journal)->ledger()->append({.session = "run"});
  REQUIRE((*journal)->flush());
  CHECK((*journal)->calls("run")->size() == 1);
}

TEST_CASE("a file of the second version is brought up to date and keeps attempts and events") {
  const TemporaryFolder folder;
  const std::string path = folder / "j.db";
  write(path, 3, 10);
  {
    auto journal = SqliteJournal::open({.path = path});
    REQUIRE(journal);
    (*journal)->ledger()->append({.session = "run", .agent = "first"});
    (*journal)->ledger()->append({.session = "run", .agent = "second"});
    (*journal)->observer()(Event{.session = "run", .data = Warning{"careful"}});
    REQUIRE((*journal)->flush());
  }
  execute(path,
          "ALTER TABLE attempts RENAME TO a; ALTER TABLE events RENAME TO e; "
          "CREATE TABLE attempts (key INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT; "
          "CREATE TABLE events (key INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, event TEXT NOT "
          "NULL) STRICT; INSERT INTO attempts SELECT * FROM a; INSERT INTO events SELECT * FROM e; "
          "DROP TABLE a; DROP TABLE e; PRAGMA user_version=2");
  auto journal = SqliteJournal::open({.path = path});
  REQUIRE(journal);
  CHECK((*journal)->read("run")->size() == 3);
  const auto calls = (*journal)->calls("run");
  REQUIRE(calls->size() == 2);
  CHECK(calls->at(1).agent == "second");
  REQUIRE((*journal)->events("run")->size() == 1);
  CHECK((*journal)->events("run")->front().at("text") == "careful");
}

TEST_CASE("a database of another program, and a file that is none, are refused and kept") {
  const TemporaryFolder folder;
  execute(folder / "other.db", "CREATE TABLE customers (name TEXT)");
  CHECK(
      has(error_of(SqliteJournal::open({.path = folder / "other.db"})).message, "another program"));
  const std::string before = bytes_of(folder / "other.db");
  CHECK(bytes_of(folder / "other.db") == before);

  const std::string letter(5000, 'x');
  overwrite(folder / "letter.txt", letter);
  const Error error = error_of(SqliteJournal::open({.path = folder / "letter.txt"}));
  CHECK(error.code == ErrorCode::storage);
  CHECK(has(error.message, "no SQLite database"));
  CHECK(bytes_of(folder / "letter.txt") == letter);
}

TEST_CASE("a path that cannot be opened is an error that names it") {
  CHECK(has(error_of(SqliteJournal::open({.path = "/no/such/folder/j.db"})).message,
            "/no/such/folder/j.db"));
  const TemporaryFolder folder;
  CHECK_FALSE(SqliteJournal::open({.path = folder / "absent.db", .read_only = true}).has_value());
  CHECK_FALSE(std::filesystem::exists(folder / "absent.db"));
}

TEST_CASE("a file that may not be written is an error that says so") {
  if (::geteuid() == 0) return;  // who may do everything
  const TemporaryFolder folder;
  const std::string path = folder / "j.db";
  write(path, 1, 10);
  std::filesystem::permissions(path, std::filesystem::perms::owner_read);
  auto journal = SqliteJournal::open({.path = path});
  const bool refused = !journal || !(*journal)->append("run", reply(2, "x"));
  CHECK(refused);
}

TEST_CASE("a journal that was opened for reading reads, and refuses to write") {
  const TemporaryFolder folder;
  write(folder / "j.db", 2, 10);
  auto journal = SqliteJournal::open({.path = folder / "j.db", .read_only = true});
  REQUIRE(journal);
  CHECK((*journal)->read("run")->size() == 2);
  CHECK((*journal)->append("run", reply(3, "x")).error().code == ErrorCode::storage);
  CHECK((*journal)->claim("run").error().code == ErrorCode::storage);
}

TEST_CASE(
    "a full disk stops the run with a clear error, keeps what was there, and can be resumed") {
  const TemporaryFolder folder;
  const std::string path = folder / "j.db";
  std::size_t kept = 0;
  {
    auto journal = SqliteJournal::open({.path = path, .max_bytes = 128 * 1024});
    REQUIRE(journal);
    Result<void> written;
    for (; kept < 1000; ++kept) {
      written = (*journal)->append("run", reply(kept + 1, std::string(4000, 'x')));
      if (!written) break;
    }
    REQUIRE_FALSE(written.has_value());
    CHECK(written.error().code == ErrorCode::storage);
    CHECK(has(written.error().message, "disk is full"));
    CHECK((*journal)->read("run")->size() == kept);
    // A smaller one may still fit, and the journal goes on.
    (void)(*journal)->append("run", reply(kept + 1, ""));
  }
  CHECK(kept > 5);
  auto journal = SqliteJournal::open({.path = path});
  REQUIRE(journal);
  const auto records = (*journal)->read("run");
  REQUIRE(records);
  CHECK(records->size() >= kept);
  CHECK((*journal)->append("run", reply(2000, "more")).has_value());
}

TEST_CASE("a session on a full disk ends with a storage error and keeps its random numbers") {
  const TemporaryFolder folder;
  auto journal = SqliteJournal::open({.path = folder / "j.db", .max_bytes = 64 * 1024});
  REQUIRE(journal);
  Simulation world;
  Session session(world, {.id = "run", .journal = *journal});
  const auto result = session.effects().effect<std::string>(
      EffectKind::model_reply, "a", [] { return std::string(); },
      [] { return std::string(100'000, 'x'); }, [](const std::string& text) { return Json(text); },
      [](const Json& json) -> Result<std::string> { return json.get<std::string>(); });
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().code == ErrorCode::storage);
}

TEST_CASE("damage is noticed wherever it is: an error, or the records as they were") {
  const TemporaryFolder folder;
  const std::string path = folder / "j.db";
  write(path, 60, 3000);
  std::vector<EffectRecord> whole;
  {
    auto journal = SqliteJournal::open({.path = path, .read_only = true});
    whole = *(*journal)->read("run");
  }
  REQUIRE(whole.size() == 60);
  const std::string bytes = bytes_of(path);
  int noticed = 0;
  for (std::size_t at = 100; at < bytes.size(); at += 1999) {
    std::string damaged = bytes;
    for (std::size_t i = at; i < std::min(at + 8, bytes.size()); ++i) damaged[i] ^= 0x55;
    const std::string copy = folder / "damaged.db";
    overwrite(copy, damaged);
    auto journal = SqliteJournal::open({.path = copy, .read_only = true});
    const auto records = journal ? (*journal)->read("run") : tl::unexpected<Error>(journal.error());
    if (!records) {
      ++noticed;
      CHECK(!records.error().message.empty());
      continue;
    }
    // The last page may have lost its end; what is there is what was written, without a gap.
    CHECK(std::equal(records->begin(), records->end(), whole.begin()));
    CHECK(records->size() <= whole.size());
  }
  CHECK(noticed > 20);
}

TEST_CASE("a write-ahead log that was cut gives the records before the cut") {
  const TemporaryFolder folder;
  const std::string path = folder / "j.db";
  auto live = SqliteJournal::open({.path = path});
  REQUIRE(live);
  std::vector<EffectRecord> written;
  for (std::uint64_t step = 1; step <= 20; ++step) {
    written.push_back(reply(step, std::string(500, 'x')));
    REQUIRE((*live)->append("run", written.back()));
  }
  const std::string main = bytes_of(path);
  const std::string log = bytes_of(path + "-wal");
  REQUIRE(log.size() > 20'000);
  std::size_t most = 0;
  for (std::size_t size = 0; size <= log.size(); size += 3001) {
    const std::string copy = folder / "cut.db";
    std::filesystem::remove(copy + "-shm");
    overwrite(copy, main);
    overwrite(copy + "-wal", log.substr(0, size));
    auto journal = SqliteJournal::open({.path = copy});
    REQUIRE(journal);
    const auto records = (*journal)->read("run");
    REQUIRE(records);
    CHECK(std::equal(records->begin(), records->end(), written.begin()));
    CHECK(records->size() >= most);
    most = records->size();
    CHECK((*journal)->append("run", reply(99, "goes on")).has_value());
  }
  CHECK(most > 10);
}

}  // namespace moderato
