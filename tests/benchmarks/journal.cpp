// What it costs to journal an effect: CPU of the whole process for each, with grouped commits, and
// the same number of rows inserted by hand in transactions of 1,000. bench_journal [SESSIONS]
// [EFFECTS]

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <moderato/core/journal/sqlite_file.hpp>
#include <moderato/core/journal/sqlite_journal.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/core/session.hpp>
#include <stdexcept>

#include "process_figures.hpp"

using namespace moderato;

namespace {

const std::string payload(600, 'x');  // a short reply, with its usage

double cpu_microseconds() {
  return 1e6 * bench::cpu_seconds();
}

void must(const Result<void>& done) {
  if (!done) throw std::runtime_error(done.error().message);
}

/// CPU microseconds for each effect, and what the payload alone costs to serialise is in it.
double journalled(const std::string& path, int sessions, int effects, Durability durability) {
  auto journal = SqliteJournal::open({.path = path, .durability = durability});
  if (!journal) throw std::runtime_error(journal.error().message);
  Runtime runtime;
  std::vector<int> numbers(static_cast<std::size_t>(sessions));
  const double began = cpu_microseconds();
  runtime.parallel(numbers, {.max_in_flight = numbers.size()}, [&](int& number) {
    Session session(runtime, {.id = std::to_string(&number - numbers.data()), .journal = *journal});
    for (int i = 0; i < effects; ++i) {
      auto kept = session.effects().effect<bool>(
          EffectKind::model_reply, "assistant", [] { return std::string("0123456789abcdef"); },
          [] { return true; }, [](bool) { return Json(payload); },
          [](const Json&) -> Result<bool> { return true; });
      if (!kept) throw std::runtime_error(kept.error().message);
    }
  });
  return (cpu_microseconds() - began) / (static_cast<double>(sessions) * effects);
}

/// The same rows, two for each effect, with nothing around them.
double by_hand(const std::string& path, int effects) {
  auto file = SqliteFile::open(path, SqliteFile::Access::read_write, std::chrono::seconds(1));
  if (!file) throw std::runtime_error(file.error().message);
  must(
      (*file)->execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; CREATE TABLE rows "
                       "(key INTEGER PRIMARY KEY, step INTEGER, phase INTEGER, kind TEXT, name "
                       "TEXT, digest TEXT, payload TEXT, at INTEGER, checksum INTEGER)"));
  auto insert = (*file)->prepare("INSERT INTO rows VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
  if (!insert) throw std::runtime_error(insert.error().message);
  const double began = cpu_microseconds();
  for (int row = 0; row < 2 * effects; ++row) {
    if (row % 1000 == 0) must((*file)->execute(row == 0 ? "BEGIN" : "COMMIT; BEGIN"));
    insert->bind(1, row).bind(2, row / 2).bind(3, row % 2).bind(4, "model_reply");
    insert->bind(5, "assistant").bind(6, "0123456789abcdef").bind(8, row).bind(9, row);
    must(insert->bind(7, row % 2 == 0 ? std::string_view() : std::string_view(payload)).run());
  }
  must((*file)->execute("COMMIT"));
  return (cpu_microseconds() - began) / effects;
}

}  // namespace

int main(int argc, char** argv) {
  const int sessions = argc > 1 ? std::atoi(argv[1]) : 1000;
  const int effects = argc > 2 ? std::atoi(argv[2]) : 20;
  std::string name = (std::filesystem::temp_directory_path() / "moderato-bench-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) return 1;
  const std::filesystem::path folder = name;
  int status = 0;
  try {
    const double raw = by_hand((folder / "raw.db").string(), sessions * effects);
    fmt::print("by hand            {:6.1f} µs of CPU an effect (two rows)\n", raw);
    for (const auto& [word, durability] :
         {std::pair("process", Durability::process), std::pair("power", Durability::power)}) {
      const double cost = journalled((folder / word).string(), sessions, effects, durability);
      fmt::print("journal, {:8} {:7.1f} µs of CPU an effect, ratio {:.2f} ({} sessions)\n", word,
                 cost, cost / raw, sessions);
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    status = 1;
  }
  std::filesystem::remove_all(folder);
  return status;
}
