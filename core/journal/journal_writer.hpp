#pragma once

// Private header of the library: not installed.

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include <moderato/core/effect.hpp>
#include <moderato/core/journal/run_locks.hpp>
#include <moderato/core/journal/sqlite_file.hpp>
#include <moderato/core/journal/sqlite_journal.hpp>

namespace moderato {

/// The one writer of a journal file in this process: a thread that takes all that was handed to it
/// and commits it as one transaction. Thread safe.
class JournalWriter {
 public:
  static Result<std::shared_ptr<JournalWriter>> open(const SqliteJournalOptions& options);
  /// Writes what was handed over, then ends the thread.
  ~JournalWriter();
  JournalWriter(const JournalWriter&) = delete;
  JournalWriter& operator=(const JournalWriter&) = delete;

  /// These return when it is on disk (as `durability` says), or when it failed.
  Result<void> append(std::string_view run, const EffectRecord& record);
  Result<void> describe(std::string_view run, const std::string& program);
  /// Takes the run for this process; the number is the run's, for release().
  Result<std::int64_t> claim(std::string_view run);
  Result<void> flush();

  /// Returns at once. A failure is told by the next flush().
  void add_attempt(std::string run, std::string record);
  void add_event(std::string run, std::string event);
  void release(std::int64_t run) noexcept { locks_.release(run); }

 private:
  enum class What : std::uint8_t { effect, program, claim, attempt, event, nothing };
  struct Waiter;
  struct Job {
    What what = What::nothing;
    std::string_view run{};  // of jobs that are waited for; it stays there meanwhile
    const EffectRecord* record = nullptr;
    std::string own_run{};
    std::string text{};
    Waiter* waiter = nullptr;

    [[nodiscard]] std::string_view name() const noexcept {
      return waiter != nullptr ? run : std::string_view(own_run);
    }
  };
  /// Where the next rows of a run go; loaded at first use.
  struct Run {
    std::int64_t id = 0;
    std::int64_t epoch = 0;
    std::optional<std::int64_t> next_effect{};
    std::optional<std::int64_t> next_attempt{};
    std::optional<std::int64_t> next_event{};
  };

  explicit JournalWriter(const SqliteJournalOptions& options);
  Result<void> prepare();
  Result<std::int64_t> wait_for(Job job);
  void hand_over(Job job);

  // The writer's thread:
  void work();
  void wait_for_more(std::unique_lock<std::mutex>& lock);
  void commit(std::vector<Job>& jobs);
  Result<void> write_all(std::vector<Job>& jobs, std::vector<Result<std::int64_t>>& results);
  Result<std::int64_t> write(Job& job);
  Result<std::int64_t> write_effect(Run& run, const Job& job);
  Result<std::int64_t> write_row(Run& run, SqliteStatement& insert, const char* table,
                                 std::optional<std::int64_t>& next, const Job& job);
  Result<std::int64_t> take(std::string_view name);
  Result<Run*> find(std::string_view name);
  Result<void> load_next(std::optional<std::int64_t>& next, const char* table, std::int64_t run);

  const SqliteJournalOptions options_;
  std::unique_ptr<SqliteFile> file_;
  RunLocks locks_;
  SqliteStatement begin_;
  SqliteStatement commit_;
  SqliteStatement insert_run_;
  SqliteStatement select_run_;
  SqliteStatement own_run_;
  SqliteStatement insert_effect_;
  SqliteStatement insert_attempt_;
  SqliteStatement insert_event_;
  SqliteStatement update_program_;
  std::unordered_map<std::string, Run> runs_;
  std::vector<std::int64_t> taken_;  // in this transaction
  std::uint64_t transactions_ = 0;
  const std::string owner_ = this_process();

  std::mutex mutex_;
  std::condition_variable handed_over_;
  std::vector<Job> queue_;
  std::size_t wake_at_ = 1;      // so many jobs in the queue wake the thread
  std::optional<Error> unsaid_;  // of a job that nobody waited for
  bool ending_ = false;
  std::thread thread_;
};

/// What is kept beside a record, so that a damaged page that still parses is noticed.
[[nodiscard]] std::int64_t checksum_of(const EffectRecord& record) noexcept;

}  // namespace moderato
