#include <moderato/core/journal/sqlite_journal.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <mutex>

#include <moderato/core/journal/journal_schema.hpp>
#include <moderato/core/journal/journal_writer.hpp>
#include <moderato/core/runtime.hpp>

namespace moderato {
namespace {

/// Reading a file blocks: on a fiber it is done by a worker.
template <class Read>
auto off_the_loop(Read&& read) -> std::invoke_result_t<Read&> {
  if (Runtime::on_fiber()) return Runtime::current()->on_worker(read);
  return read();
}

WallTime from_milliseconds(std::int64_t count) {
  return WallTime(std::chrono::duration_cast<Duration>(std::chrono::milliseconds(count)));
}

/// The ledger keeps attempts, and nobody reads deltas later. (That a call was sent ties the time of
/// the other events to the ledger's.)
bool kept(const Event& event) {
  return !std::holds_alternative<TokenDelta>(event.data) &&
         !std::holds_alternative<CallFinished>(event.data) &&
         !std::holds_alternative<CallRejected>(event.data) &&
         !std::holds_alternative<CallAdmitted>(event.data);
}

class SqliteLedger final : public Ledger {
 public:
  explicit SqliteLedger(std::shared_ptr<JournalWriter> writer) : writer_(std::move(writer)) {}
  void append(const CallRecord& record) override {
    if (writer_) writer_->add_attempt(record.session, dump_json(to_json(record)));
  }

 private:
  std::shared_ptr<JournalWriter> writer_;
};

Result<EffectRecord> record_in(const SqliteStatement& row) {
  EffectRecord record{
      .step = static_cast<std::uint64_t>(row.number(0)),
      .phase = row.number(1) == 0 ? EffectRecord::Phase::started : EffectRecord::Phase::finished,
      .kind = EffectKind::start,
      .name = std::string(row.text(3)),
      .digest = std::string(row.text(4)),
      .payload = std::string(row.text(5)),
      .at = Duration(row.number(6))};
  const auto kind = effect_kind_from_string(row.text(2));
  if (kind) record.kind = *kind;
  if (!kind || checksum_of(record) != row.number(7)) {
    return fail(ErrorCode::storage,
                fmt::format("the journal is damaged: the record of step {} is not what was written",
                            record.step));
  }
  return record;
}

}  // namespace

struct SqliteJournal::State {
  std::shared_ptr<JournalWriter> writer;  // null: read only
  std::mutex mutex;
  std::unique_ptr<SqliteFile> reader;

  /// Calls `take(row)` for each row; `sql` has the placeholder ?1 for `text`, or none.
  template <class Take>
  Result<void> rows(std::string_view sql, std::optional<std::string_view> text, Take&& take) {
    const std::scoped_lock lock(mutex);
    auto statement = reader->prepare(sql);
    if (!statement) return tl::unexpected<Error>(std::move(statement).error());
    if (text) statement->bind(1, *text);
    for (;;) {
      auto row = statement->step();
      if (!row) return tl::unexpected<Error>(std::move(row).error());
      if (!*row) return {};
      if (Result<void> taken = take(*statement); !taken) return taken;
    }
  }
};

Result<std::shared_ptr<SqliteJournal>> SqliteJournal::open(SqliteJournalOptions options) {
  if (options.path.empty()) return fail(ErrorCode::configuration, "a journal needs a path");
  auto state = std::make_shared<State>();
  if (!options.read_only) {
    auto writer = JournalWriter::open(options);
    if (!writer) return tl::unexpected<Error>(std::move(writer).error());
    state->writer = std::move(*writer);
  }
  auto reader = SqliteFile::open(options.path, SqliteFile::Access::read_only, options.busy_timeout);
  if (!reader) return tl::unexpected<Error>(std::move(reader).error());
  state->reader = std::move(*reader);
  if (auto known = check_journal(*state->reader, options.path); !known) {
    return tl::unexpected<Error>(std::move(known).error());
  }
  return std::shared_ptr<SqliteJournal>(new SqliteJournal(std::move(state)));
}

SqliteJournal::~SqliteJournal() = default;

Result<void> SqliteJournal::append(std::string_view run, const EffectRecord& record) {
  if (!state_->writer) return fail(ErrorCode::storage, "the journal was opened for reading only");
  return state_->writer->append(run, record);
}

Result<std::shared_ptr<void>> SqliteJournal::claim(std::string_view run) {
  if (!state_->writer) return fail(ErrorCode::storage, "the journal was opened for reading only");
  auto claimed = state_->writer->claim(run);
  if (!claimed) return tl::unexpected<Error>(std::move(claimed).error());
  return std::shared_ptr<void>(
      nullptr, [writer = state_->writer, id = *claimed](void*) { writer->release(id); });
}

Result<std::vector<EffectRecord>> SqliteJournal::read(std::string_view run) {
  return off_the_loop([&]() -> Result<std::vector<EffectRecord>> {
    std::vector<EffectRecord> records;
    auto read = state_->rows(
        "SELECT step, phase, kind, e.name, digest, payload, at_ns, checksum, e.key - (r.id << 32) "
        "FROM runs r JOIN effects e ON e.key BETWEEN r.id << 32 AND (r.id + 1 << 32) - 1 "
        "WHERE r.name = ?1 ORDER BY e.key",
        run, [&](const SqliteStatement& row) -> Result<void> {
          auto record = record_in(row);
          if (row.number(8) != static_cast<std::int64_t>(records.size()) + 1) {
            record = fail(ErrorCode::storage,
                          fmt::format("the journal is damaged: record {} of run \"{}\" is missing",
                                      records.size() + 1, run));
          }
          if (!record) return tl::unexpected<Error>(std::move(record).error());
          records.push_back(std::move(*record));
          return {};
        });
    if (!read) return tl::unexpected<Error>(std::move(read).error());
    return records;
  });
}

std::shared_ptr<Ledger> SqliteJournal::ledger() {
  return std::make_shared<SqliteLedger>(state_->writer);
}

Observer SqliteJournal::observer() {
  return [writer = state_->writer](const Event& event) {
    if (writer && !event.session.empty() && kept(event)) {
      writer->add_event(event.session, dump_json(to_json(event)));
    }
  };
}

Result<void> SqliteJournal::describe(std::string_view run, const Json& program) {
  if (!state_->writer) return fail(ErrorCode::storage, "the journal was opened for reading only");
  return state_->writer->describe(run, dump_json(program));
}

Result<void> SqliteJournal::flush() {
  if (!state_->writer) return {};
  return state_->writer->flush();
}

Result<std::vector<RunInfo>> SqliteJournal::runs() {
  return off_the_loop([&]() -> Result<std::vector<RunInfo>> {
    std::vector<RunInfo> runs;
    auto read = state_->rows(
        "SELECT name, created_ms, epoch, program, "
        "(SELECT count(*) FROM effects e WHERE e.key BETWEEN r.id << 32 AND (r.id + 1 << 32) - 1) "
        "FROM runs r WHERE name <> '' ORDER BY id",
        {}, [&](const SqliteStatement& row) -> Result<void> {
          runs.push_back({.id = std::string(row.text(0)),
                          .created = from_milliseconds(row.number(1)),
                          .epoch = row.number(2),
                          .effects = row.number(4),
                          .program = std::string(row.text(3))});
          return {};
        });
    if (!read) return tl::unexpected<Error>(std::move(read).error());
    return runs;
  });
}

Result<std::vector<CallRecord>> SqliteJournal::calls(std::optional<std::string> run) {
  return off_the_loop([&]() -> Result<std::vector<CallRecord>> {
    std::vector<CallRecord> calls;
    const char* all = "SELECT record FROM attempts ORDER BY key";
    const char* one =
        "SELECT record FROM runs r JOIN attempts a "
        "ON a.key BETWEEN r.id << 32 AND (r.id + 1 << 32) - 1 "
        "WHERE r.name = ?1 OR r.name BETWEEN ?1 || '/' AND ?1 || '0' ORDER BY a.key";
    auto read = state_->rows(run ? one : all, run, [&](const SqliteStatement& row) -> Result<void> {
      auto json = parse_json(row.text(0), "an attempt in the journal");
      if (!json) return fail(ErrorCode::storage, json.error().message);
      auto call = call_record_from_json(*json);
      if (!call) return tl::unexpected<Error>(std::move(call).error());
      calls.push_back(std::move(*call));
      return {};
    });
    if (!read) return tl::unexpected<Error>(std::move(read).error());
    std::stable_sort(calls.begin(), calls.end(), [](const CallRecord& a, const CallRecord& b) {
      return a.sent_at < b.sent_at;
    });
    return calls;
  });
}

// A resumed run tells its observers everything again from the start, so each process that had the
// run has left the whole story up to where it got. The one that got furthest has all of it. The
// runs within a run (the chats of a graph) have stories of their own.
Result<std::vector<Json>> SqliteJournal::events(std::string_view run) {
  return off_the_loop([&]() -> Result<std::vector<Json>> {
    std::vector<Json> all;
    std::vector<Json> best;
    std::vector<Json> of_epoch;
    std::int64_t epoch = 0;
    std::int64_t story = 0;
    const auto turn = [&] {
      if (of_epoch.size() >= best.size()) best = std::move(of_epoch);
      of_epoch.clear();
    };
    const auto end_story = [&] {
      turn();
      std::move(best.begin(), best.end(), std::back_inserter(all));
      best.clear();
    };
    auto read = state_->rows(
        "SELECT event, e.epoch, r.id FROM runs r JOIN events e "
        "ON e.key BETWEEN r.id << 32 AND (r.id + 1 << 32) - 1 "
        "WHERE r.name = ?1 OR r.name BETWEEN ?1 || '/' AND ?1 || '0' ORDER BY e.key",
        run, [&](const SqliteStatement& row) -> Result<void> {
          if (row.number(2) != story) {
            end_story();
          } else if (row.number(1) != epoch) {
            turn();
          }
          story = row.number(2);
          epoch = row.number(1);
          auto event = parse_json(row.text(0), "an event in the journal");
          if (!event) return fail(ErrorCode::storage, event.error().message);
          of_epoch.push_back(std::move(*event));
          return {};
        });
    if (!read) return tl::unexpected<Error>(std::move(read).error());
    end_story();
    std::stable_sort(all.begin(), all.end(), [](const Json& a, const Json& b) {
      return a.value("at", 0.0) < b.value("at", 0.0);
    });
    return all;
  });
}

}  // namespace moderato
