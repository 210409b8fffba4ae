#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/call_record.hpp>
#include <moderato/core/effect.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/observer.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/time.hpp>

namespace moderato {

/// What a record survives once append() has returned.
enum class Durability : std::uint8_t {
  process,  ///< The death of the process (SQLite: synchronous=NORMAL); not a power failure.
  power,    ///< A power failure, too (synchronous=FULL): one fsync for each commit.
};

struct SqliteJournalOptions {
  std::string path{};  ///< Made if it is not there. Beside it: -wal, -shm and -claims.
  Durability durability = Durability::power;
  /// Nothing is written, and nobody who writes is disturbed; append() is an error.
  bool read_only = false;
  /// While several runs are open, a commit waits so long for the records of the others; 0: never.
  Duration group_window = std::chrono::milliseconds(2);
  /// How long a commit waits for other processes that write to the same file.
  Duration busy_timeout = std::chrono::seconds(10);
  /// Most bytes of the file (not counting its -wal); 0: no limit.
  std::int64_t max_bytes = 0;
  /// For tests that kill the process there: called on the journal's own thread right before and
  /// right after each transaction, with its number from 1.
  std::function<void(std::uint64_t transaction, bool committed)> on_commit{};
};

/// A run in a journal.
struct RunInfo {
  std::string id{};
  WallTime created{};
  std::int64_t epoch = 0;    ///< How many times it was begun or resumed.
  std::int64_t effects = 0;  ///< Rows: two for most effects.
  std::string program{};     ///< What describe() kept, JSON; may be empty.
};

/// A journal in an SQLite file (WAL mode): for any number of runs, processes and threads; readers
/// never block writers.
///
///   auto journal = SqliteJournal::open({.path = "runs.db"});
///   Session session(runtime, {.id = "contract-17", .journal = *journal});
///   …the process dies, and another one says…
///   auto session = (*journal)->resume(runtime, "contract-17");  // and goes on in **session
///
/// Everything that arrives while a commit is under way is in the next one, so the costs of a commit
/// are shared by all runs. Waiting suspends the fiber; nothing blocks the loop. Damaged, full,
/// unwritable and foreign files are `storage` errors that say what to do; a file of a newer version
/// is refused with `configuration`.
///
/// Thread safe. Sessions keep it alive.
class SqliteJournal final : public Journal {
 public:
  static Result<std::shared_ptr<SqliteJournal>> open(SqliteJournalOptions options);
  ~SqliteJournal() override;
  SqliteJournal(const SqliteJournal&) = delete;
  SqliteJournal& operator=(const SqliteJournal&) = delete;

  Result<void> append(std::string_view run, const EffectRecord& record) override;
  Result<std::vector<EffectRecord>> read(std::string_view run) override;
  /// A run belongs to one process at a time; the lock ends with the process, however it ended.
  Result<std::shared_ptr<void>> claim(std::string_view run) override;

  /// A ledger in the same file, for RuntimeOptions::ledger. An attempt is on disk at the latest
  /// when the effect that it was made for is.
  [[nodiscard]] std::shared_ptr<Ledger> ledger();
  /// Keeps what happened in the sessions that it observes (all events but token deltas and
  /// those that the ledger has), for reports. Returns at once; flush() tells failures.
  [[nodiscard]] Observer observer();
  /// Keeps with a run what is needed to make its program again, in any form. Keep no keys in it.
  Result<void> describe(std::string_view run, const Json& program);
  /// Waits until all that was handed over is on disk; the first error since the last flush.
  Result<void> flush();

  /// All runs, the oldest first.
  Result<std::vector<RunInfo>> runs();
  /// The attempts of a run and of the runs within it ("RUN/…": the chats of a graph, say), in the
  /// order of their sending; without `run`, of all (and of calls outside sessions).
  Result<std::vector<CallRecord>> calls(std::optional<std::string> run = {});
  /// The events of a run and of the runs within it, by time, as to_json(Event) has them: those of
  /// the process that got furthest.
  Result<std::vector<Json>> events(std::string_view run);

 private:
  struct State;
  explicit SqliteJournal(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace moderato
