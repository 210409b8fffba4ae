#include <moderato/core/journal/journal_writer.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <semaphore>
#include <utility>

#include <moderato/core/clock.hpp>
#include <moderato/core/journal/journal_schema.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/core/wait.hpp>

// Grouped commits
//
// A commit that survives a power failure takes an fsync, some milliseconds, whatever is in it; a
// transaction for each record would allow some hundred records a second. But nobody has to wait
// alone: one thread takes everything that was handed over, writes it in one transaction, and lets
// all who wait for it go. What arrives meanwhile is the next group, so groups grow by themselves as
// the load does: 1,000 chats that each hand over a record during one fsync cost two fsyncs, not
// 1,000.
//
// Where commits are quick (Durability::process, or a fast disk) groups would be small and the
// fixed costs of a transaction high. So while several runs are open the thread waits `group_window`
// for more, unless every open run has already handed something over. A run that is alone waits for
// nobody.
//
// A record that cannot be written (its run belongs to somebody else) fails alone; a full disk fails
// the whole group, and all of them are told. Numbers of rows are counted here and read from the
// file only when they are not known: at the first use of a run, after a rollback, and when another
// process turns out to have written in between.

namespace moderato {

struct JournalWriter::Waiter {
  Waiter() : blocks(Runtime::current() != nullptr && Runtime::current()->simulated()) {}

  // In a simulation time must stand still while the disk works, so its loop is blocked: for the
  // fiber to park would mean that nothing can run, and the clock would jump.
  void wait() {
    if (blocks) {
      blocked.acquire();
    } else {
      point.wait_for_notification();
    }
  }
  void release(Result<std::int64_t> outcome) {
    result = std::move(outcome);
    if (blocks) {
      blocked.release();
    } else {
      point.notify();
    }
  }

  const bool blocks;
  WaitPoint point{"the journal to write"};
  std::binary_semaphore blocked{0};
  Result<std::int64_t> result = 0;
};

namespace {

/// A cache, so that a process with many short runs does not grow.
constexpr std::size_t most_known_runs = 4096;

std::int64_t now_in_milliseconds() {
  const auto now = SteadyClock().wall_now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

/// Reads eight bytes at a time; only for noticing damage.
std::uint64_t mix(std::uint64_t state, std::string_view text) noexcept {
  constexpr std::uint64_t prime = 0x9ddfea08eb382d69U;
  state = (state ^ text.size()) * prime;
  while (!text.empty()) {
    std::uint64_t word = 0;
    const std::size_t taken = std::min(text.size(), sizeof word);
    std::memcpy(&word, text.data(), taken);
    state = (state ^ word) * prime;
    state ^= state >> 32U;
    text.remove_prefix(taken);
  }
  return state;
}

}  // namespace

std::int64_t checksum_of(const EffectRecord& record) noexcept {
  std::uint64_t state = record.step * 4 + static_cast<std::uint64_t>(record.phase);
  state = mix(state, to_string(record.kind));
  state = mix(state, record.name);
  state = mix(state, record.digest);
  state = mix(state, record.payload);
  state = mix(state ^ static_cast<std::uint64_t>(record.at.count()), "");
  return static_cast<std::int64_t>(state);
}

JournalWriter::JournalWriter(const SqliteJournalOptions& options)
    : options_(options), locks_(options.path + "-claims") {}

Result<std::shared_ptr<JournalWriter>> JournalWriter::open(const SqliteJournalOptions& options) {
  auto file = SqliteFile::open(options.path, SqliteFile::Access::read_write, options.busy_timeout);
  if (!file) return tl::unexpected<Error>(std::move(file).error());
  auto writer = std::shared_ptr<JournalWriter>(new JournalWriter(options));
  writer->file_ = std::move(*file);
  if (auto ready = writer->prepare(); !ready) {
    return tl::unexpected<Error>(std::move(ready).error());
  }
  writer->thread_ = std::thread([raw = writer.get()] { raw->work(); });
  return writer;
}

Result<void> JournalWriter::prepare() {
  // Before anything is written to it: a file of somebody else stays as it is.
  if (auto made = migrate_journal(*file_, options_.path); !made) return made;
  if (auto changed = file_->use_write_ahead_log(); !changed) return changed;
  std::string settings = fmt::format("PRAGMA synchronous={};",
                                     options_.durability == Durability::power ? "FULL" : "NORMAL");
  if (options_.max_bytes > 0) {
    auto page = file_->number("PRAGMA page_size");
    if (!page) return tl::unexpected<Error>(std::move(page).error());
    settings += fmt::format("PRAGMA max_page_count={};", options_.max_bytes / *page);
  }
  if (auto set = file_->execute(settings.c_str()); !set) return set;

  const auto make = [this](SqliteStatement& statement, const char* sql) -> Result<void> {
    auto made = file_->prepare(sql);
    if (!made) return tl::unexpected<Error>(std::move(made).error());
    statement = std::move(*made);
    return {};
  };
  struct Wanted {
    SqliteStatement& statement;
    const char* sql;
  };
  for (const Wanted& wanted : {
           Wanted{begin_, "BEGIN IMMEDIATE"},
           Wanted{commit_, "COMMIT"},
           Wanted{insert_run_, "INSERT OR IGNORE INTO runs(name, created_ms) VALUES(?1, ?2)"},
           Wanted{select_run_, "SELECT id, epoch, owner FROM runs WHERE name = ?1"},
           Wanted{own_run_, "UPDATE runs SET owner = ?2, epoch = epoch + 1 WHERE id = ?1"},
           Wanted{insert_effect_, "INSERT INTO effects VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"},
           Wanted{insert_attempt_, "INSERT INTO attempts VALUES(?1, ?2)"},
           Wanted{insert_event_, "INSERT INTO events VALUES(?1, ?3, ?2)"},
           Wanted{update_program_, "UPDATE runs SET program = ?2 WHERE id = ?1"},
       }) {
    if (auto made = make(wanted.statement, wanted.sql); !made) return made;
  }
  return {};
}

JournalWriter::~JournalWriter() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  handed_over_.notify_one();
  if (thread_.joinable()) thread_.join();
}

// --- Handing over

void JournalWriter::hand_over(Job job) {
  bool enough = false;
  {
    const std::scoped_lock lock(mutex_);
    queue_.push_back(std::move(job));
    enough = queue_.size() == wake_at_;
  }
  if (enough) handed_over_.notify_one();
}

Result<std::int64_t> JournalWriter::wait_for(Job job) {
  Waiter waiter;
  job.waiter = &waiter;
  hand_over(std::move(job));
  waiter.wait();
  return std::move(waiter.result);
}

Result<void> JournalWriter::append(std::string_view run, const EffectRecord& record) {
  auto done = wait_for({.what = What::effect, .run = run, .record = &record});
  if (!done) return tl::unexpected<Error>(std::move(done).error());
  return {};
}

Result<void> JournalWriter::describe(std::string_view run, const std::string& program) {
  auto done = wait_for({.what = What::program, .run = run, .text = program});
  if (!done) return tl::unexpected<Error>(std::move(done).error());
  return {};
}

Result<std::int64_t> JournalWriter::claim(std::string_view run) {
  return wait_for({.what = What::claim, .run = run});
}

Result<void> JournalWriter::flush() {
  auto done = wait_for({.what = What::nothing});
  if (!done) return tl::unexpected<Error>(std::move(done).error());
  return {};
}

void JournalWriter::add_attempt(std::string run, std::string record) {
  hand_over({.what = What::attempt, .own_run = std::move(run), .text = std::move(record)});
}

void JournalWriter::add_event(std::string run, std::string event) {
  hand_over({.what = What::event, .own_run = std::move(run), .text = std::move(event)});
}

// --- The writer's thread

void JournalWriter::work() {
  std::vector<Job> jobs;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      handed_over_.wait(lock, [this] { return ending_ || !queue_.empty(); });
      if (queue_.empty()) return;
      wait_for_more(lock);
      jobs.clear();
      jobs.swap(queue_);
    }
    commit(jobs);
  }
}

void JournalWriter::wait_for_more(std::unique_lock<std::mutex>& lock) {
  const std::size_t open_runs = locks_.held();
  if (open_runs < 2 || options_.group_window <= Duration::zero()) return;
  wake_at_ = open_runs;
  handed_over_.wait_for(lock, options_.group_window,
                        [&] { return ending_ || queue_.size() >= open_runs; });
  wake_at_ = 1;
}

void JournalWriter::commit(std::vector<Job>& jobs) {
  if (runs_.size() > std::max(most_known_runs, 4 * locks_.held())) runs_.clear();
  std::vector<Result<std::int64_t>> results(jobs.size(), Result<std::int64_t>(0));
  auto committed = write_all(jobs, results);
  if (!committed) {
    (void)file_->execute("ROLLBACK");
    for (const std::int64_t run : taken_) locks_.release(run);
    runs_.clear();
    for (auto& result : results) result = tl::unexpected<Error>(committed.error());
  }
  taken_.clear();
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (jobs[i].waiter == nullptr && !results[i] && !unsaid_) unsaid_ = results[i].error();
    if (jobs[i].what == What::nothing && unsaid_) {
      results[i] = tl::unexpected<Error>(*std::exchange(unsaid_, std::nullopt));
    }
    if (jobs[i].waiter != nullptr) jobs[i].waiter->release(std::move(results[i]));
  }
}

Result<void> JournalWriter::write_all(std::vector<Job>& jobs,
                                      std::vector<Result<std::int64_t>>& results) {
  if (auto begun = begin_.run(); !begun) return begun;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    results[i] = write(jobs[i]);
    // Errors of the file end the transaction; others concern this job only.
    if (!results[i] && results[i].error().code == ErrorCode::storage &&
        file_->failure() != SqliteFailure::constraint && file_->failure() != SqliteFailure::none) {
      return tl::unexpected<Error>(results[i].error());
    }
  }
  ++transactions_;
  if (options_.on_commit) options_.on_commit(transactions_, false);
  if (auto done = commit_.run(); !done) return done;
  if (options_.on_commit) options_.on_commit(transactions_, true);
  return {};
}

Result<std::int64_t> JournalWriter::write(Job& job) {
  if (job.what == What::nothing) return 0;
  if (job.what == What::claim) return take(job.name());
  auto found = find(job.name());
  if (!found) return tl::unexpected<Error>(std::move(found).error());
  Run& run = **found;
  switch (job.what) {
    case What::effect:
      return write_effect(run, job);
    case What::attempt:
      return write_row(run, insert_attempt_, "attempts", run.next_attempt, job);
    case What::event:
      insert_event_.bind(3, run.epoch);
      return write_row(run, insert_event_, "events", run.next_event, job);
    case What::program: {
      auto kept = update_program_.bind(1, run.id).bind(2, job.text).run();
      if (!kept) return tl::unexpected<Error>(std::move(kept).error());
      return run.id;
    }
    default:
      return 0;
  }
}

Result<std::int64_t> JournalWriter::write_effect(Run& run, const Job& job) {
  if (!run.next_effect) {
    if (auto known = load_next(run.next_effect, "effects", run.id); !known) {
      return tl::unexpected<Error>(std::move(known).error());
    }
  }
  const EffectRecord& record = *job.record;
  insert_effect_.bind(1, row_key(run.id, *run.next_effect))
      .bind(2, static_cast<std::int64_t>(record.step))
      .bind(3, static_cast<std::int64_t>(record.phase))
      .bind(4, to_string(record.kind))
      .bind(5, record.name)
      .bind(6, record.digest)
      .bind(7, record.payload)
      .bind(8, record.at.count())
      .bind(9, checksum_of(record));
  auto written = insert_effect_.run();
  if (written) return (*run.next_effect)++;
  if (file_->failure() != SqliteFailure::constraint) {
    return tl::unexpected<Error>(std::move(written).error());
  }
  run.next_effect.reset();
  return fail(ErrorCode::storage,
              fmt::format("journal {}: another process has written to run \"{}\"; resume it "
                          "instead of opening it twice",
                          options_.path, job.name()));
}

// Attempts and events of a run may come from several processes (those outside sessions do): a
// number that turns out to be taken is read anew. Within the transaction nobody else can write.
Result<std::int64_t> JournalWriter::write_row(Run& run, SqliteStatement& insert, const char* table,
                                              std::optional<std::int64_t>& next, const Job& job) {
  for (bool again = false;; again = true) {
    if (!next) {
      if (auto known = load_next(next, table, run.id); !known) {
        return tl::unexpected<Error>(std::move(known).error());
      }
    }
    auto written = insert.bind(1, row_key(run.id, *next)).bind(2, job.text).run();
    if (written) return (*next)++;
    next.reset();
    if (again || file_->failure() != SqliteFailure::constraint) {
      return tl::unexpected<Error>(std::move(written).error());
    }
  }
}

Result<std::int64_t> JournalWriter::take(std::string_view name) {
  runs_.erase(std::string(name));  // what is known may be older than somebody else's turn
  auto found = find(name);
  if (!found) return tl::unexpected<Error>(std::move(found).error());
  Run& run = **found;
  auto taken = locks_.take(run.id);
  if (!taken) return tl::unexpected<Error>(std::move(taken).error());
  if (!*taken) {
    select_run_.bind(1, name);
    auto row = select_run_.step();
    const std::string owner(row && *row ? select_run_.text(2) : std::string_view("somebody"));
    select_run_.reset();
    return fail(ErrorCode::configuration,
                fmt::format("run \"{}\" of journal {} is in progress: {} has it", name,
                            options_.path, owner));
  }
  taken_.push_back(run.id);
  auto owned = own_run_.bind(1, run.id).bind(2, owner_).run();
  if (!owned) return tl::unexpected<Error>(std::move(owned).error());
  ++run.epoch;
  return run.id;
}

Result<JournalWriter::Run*> JournalWriter::find(std::string_view name) {
  const std::string key(name);
  if (const auto known = runs_.find(key); known != runs_.end()) return &known->second;
  auto made = insert_run_.bind(1, name).bind(2, now_in_milliseconds()).run();
  if (!made) return tl::unexpected<Error>(std::move(made).error());
  select_run_.bind(1, name);
  auto row = select_run_.step();
  if (!row) return tl::unexpected<Error>(std::move(row).error());
  Run run{.id = select_run_.number(0), .epoch = select_run_.number(1)};
  select_run_.reset();
  return &runs_.insert_or_assign(key, run).first->second;
}

Result<void> JournalWriter::load_next(std::optional<std::int64_t>& next, const char* table,
                                      std::int64_t run) {
  auto last = file_->number(fmt::format("SELECT max(key) FROM {} WHERE key >= {} AND key < {}",
                                        table, row_key(run, 0), row_key(run + 1, 0)));
  if (!last) return tl::unexpected<Error>(std::move(last).error());
  next = *last == 0 ? 1 : *last - row_key(run, 0) + 1;
  return {};
}

}  // namespace moderato
