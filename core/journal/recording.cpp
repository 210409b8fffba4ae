#include <moderato/core/journal/recording.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <utility>

#include <moderato/core/json.hpp>

namespace moderato {
namespace {

Json line_of(std::string_view run, const EffectRecord& record) {
  const bool started = record.phase == EffectRecord::Phase::started;
  Json line{{"run", run},
            {"step", record.step},
            {"phase", started ? "started" : "finished"},
            {"kind", to_string(record.kind)},
            {"name", record.name},
            {"digest", record.digest},
            {"at", record.at.count()}};
  if (!started) line["result"] = Json::parse(record.payload, nullptr, false);
  return line;
}

/// Throws Json::exception where a member is missing or of another type.
Result<EffectRecord> record_of(const Json& line) {
  const auto kind = effect_kind_from_string(line.at("kind").get<std::string>());
  const auto phase = line.at("phase").get<std::string>();
  if (!kind) return fail(ErrorCode::storage, "its kind is unknown");
  if (phase != "started" && phase != "finished") {
    return fail(ErrorCode::storage, "its phase is neither started nor finished");
  }
  EffectRecord record{
      .step = static_cast<std::uint64_t>(whole_number(line.at("step"))),
      .phase = phase == "started" ? EffectRecord::Phase::started : EffectRecord::Phase::finished,
      .kind = *kind,
      .name = line.at("name").get<std::string>(),
      .digest = line.at("digest").get<std::string>(),
      .at = Duration(whole_number(line.at("at")))};
  if (phase == "finished") record.payload = dump_json(line.at("result"));
  return record;
}

/// A journal that writes a text file: one line for each record.
class RecordingFile final : public Journal {
 public:
  RecordingFile(std::string path, std::ofstream file)
      : path_(std::move(path)), file_(std::move(file)) {}

  Result<void> append(std::string_view run, const EffectRecord& record) override {
    const std::scoped_lock lock(mutex_);
    file_ << dump_json(line_of(run, record)) << '\n' << std::flush;
    if (!file_) {
      return fail(ErrorCode::storage, fmt::format("{} cannot be written: {}; the recording is "
                                                  "incomplete, remove it",
                                                  path_, std::strerror(errno)));
    }
    return {};
  }
  /// What is recorded is begun anew.
  Result<std::vector<EffectRecord>> read(std::string_view) override {
    return std::vector<EffectRecord>{};
  }

 private:
  const std::string path_;
  std::mutex mutex_;
  std::ofstream file_;
};

Result<std::shared_ptr<Journal>> journal_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || !std::filesystem::is_regular_file(path)) {
    return fail(ErrorCode::storage, fmt::format("the recording {} cannot be read", path));
  }
  auto journal = std::make_shared<MemoryJournal>();
  std::size_t number = 0;
  const auto wrong = [&](std::string_view why) {
    return fail(ErrorCode::storage, fmt::format("line {} of the recording {} is no effect: {}. "
                                                "Record again",
                                                number, path, why));
  };
  for (std::string text; std::getline(file, text);) {
    ++number;
    const auto line = parse_json(text, "the line");
    if (!line) return wrong(line.error().message);
    try {
      auto record = record_of(*line);
      if (!record) return wrong(record.error().message);
      if (auto kept = journal->append(line->at("run").get<std::string>(), *record); !kept) {
        return tl::unexpected<Error>(std::move(kept).error());
      }
    } catch (const Json::exception& thrown) {
      return wrong(thrown.what());
    }
  }
  if (number == 0) {
    return fail(ErrorCode::storage, fmt::format("the recording {} is empty. Record again", path));
  }
  return journal;
}

}  // namespace

Result<SessionOptions> recorded_session(const std::string& path, RecordingOptions options) {
  std::error_code none;
  SessionOptions session{.id = std::move(options.run)};
  if (std::filesystem::exists(path, none) && !options.again) {
    auto journal = journal_of(path);
    if (!journal) return tl::unexpected<Error>(std::move(journal).error());
    session.journal = std::move(*journal);
    session.journal_mode = JournalMode::replay;
    return session;
  }
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (!file) {
    return fail(ErrorCode::configuration,
                fmt::format("the recording {} cannot be made: {}", path, std::strerror(errno)));
  }
  session.journal = std::make_shared<RecordingFile>(path, std::move(file));
  return session;
}

}  // namespace moderato
