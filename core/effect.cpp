#include <moderato/core/effect.hpp>

#include <fmt/format.h>

#include <algorithm>

#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<EffectKind, 6> names{
    {"start", "model_reply", "tool_result", "human_input", "code_execution", "external_stop"}};

constexpr std::uint64_t golden_gamma = 0x9e3779b97f4a7c15U;

std::uint64_t split_mix(std::uint64_t& state) noexcept {
  std::uint64_t z = (state += golden_gamma);
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31U);
}

/// The code of the error that an effect ended with; empty: none.
std::string failure_of(const EffectRecord& record) {
  if (record.kind == EffectKind::external_stop) {  // a condition's own end is no stop from outside
    const bool by_condition = record.name.starts_with("condition ") &&
                              record.name.find(R"("reason":"cancelled")") == std::string::npos;
    return by_condition ? std::string() : std::string("cancelled");
  }
  const auto payload = parse_json(record.payload);
  if (!payload || !payload->is_object() || !payload->contains("error")) return {};
  const Json& error = payload->at("error");
  const Json& code = error.is_object() && error.contains("code") ? error.at("code") : error;
  return code.is_string() ? code.get<std::string>() : std::string("unknown");
}

/// A model call of which an attempt has left: it may have been charged.
bool was_sent(const EffectRecord& record) {
  const auto payload = parse_json(record.payload);
  if (!payload || !payload->is_object()) return false;
  const auto spent = payload->find("spent");
  return spent != payload->end() && spent->is_object() && spent->value("attempts", Json(0)) != 0;
}

}  // namespace

std::string_view to_string(EffectKind kind) noexcept {
  return names.name_of(kind);
}
std::optional<EffectKind> effect_kind_from_string(std::string_view name) noexcept {
  return names.value_of(name);
}

Result<std::shared_ptr<void>> Journal::claim(std::string_view) {
  return std::shared_ptr<void>();
}

Result<void> MemoryJournal::append(std::string_view run, const EffectRecord& record) {
  const std::scoped_lock lock(mutex_);
  runs_[std::string(run)].push_back(record);
  return {};
}

Result<std::vector<EffectRecord>> MemoryJournal::read(std::string_view run) {
  const std::scoped_lock lock(mutex_);
  const auto found = runs_.find(run);
  return found == runs_.end() ? std::vector<EffectRecord>{} : found->second;
}

EffectLog::EffectLog(const Clock& clock) : clock_(clock), origin_(clock.now()) {}

Result<std::unique_ptr<EffectLog>> EffectLog::open(std::shared_ptr<Journal> journal,
                                                   std::string run, JournalMode mode,
                                                   const Clock& clock) {
  std::shared_ptr<void> claim;
  if (mode != JournalMode::replay) {
    auto claimed = journal->claim(run);
    if (!claimed) return tl::unexpected<Error>(std::move(claimed).error());
    claim = std::move(*claimed);
  }
  auto records = journal->read(run);
  if (!records) return tl::unexpected<Error>(std::move(records).error());
  if (mode == JournalMode::record && !records->empty()) {
    return fail(ErrorCode::configuration,
                fmt::format("run \"{}\" is already in the journal; resume or replay it, or choose "
                            "another session id",
                            run));
  }
  if (mode == JournalMode::replay && records->empty()) {
    return fail(ErrorCode::configuration, fmt::format("run \"{}\" is not in the journal", run));
  }
  auto log = std::make_unique<EffectLog>(clock);
  log->journal_ = std::move(journal);
  log->claim_ = std::move(claim);
  log->run_ = std::move(run);
  log->mode_ = mode;
  log->recording_ = true;
  for (EffectRecord& record : *records) {
    Known& known = log->recorded_[record.step];
    log->recorded_until_ = std::max(log->recorded_until_, record.at);
    if (record.phase == EffectRecord::Phase::started) {
      known.finished.reset();  // of two records of a step the later one holds
      known.started = std::move(record);
    } else {
      known.finished = std::move(record);
    }
  }
  std::erase_if(log->recorded_, [](const auto& entry) {  // stops that a resumed run forgot
    const Known& known = entry.second;
    return !known.finished && known.started->kind == EffectKind::external_stop;
  });
  if (mode == JournalMode::resume) {
    if (auto forgotten = log->forget_what_ended_it(); !forgotten) {
      return tl::unexpected<Error>(std::move(forgotten).error());
    }
  }
  for (const auto& [step, known] : log->recorded_) {
    if (!known.finished) log->interrupted_.push_back(*known.started);
  }
  return log;
}

// Whoever resumes a run that was stopped from outside (ctrl-C), or that ended because a model or a
// person could not be reached, wants it to go on: the stop, and what it broke off, are as if the
// process had died there. What is recorded instead gets the same steps, and of two records of a
// step the later one holds. A stop may be followed by nothing that is recorded, so that it is
// forgotten is written down: as a stop that began and never was.
//
// Of effects that overlapped some may have been broken off and others not, so the search goes back
// as long as what it finds had not ended when something was broken off, and over the results of
// tools, of which a message may have asked for several.
Result<void> EffectLog::forget_what_ended_it() {
  Duration broken_since = Duration::max();
  bool at_end = true;
  for (auto step = recorded_.end(); step != recorded_.begin();) {
    Known& known = (--step)->second;
    if (known.finished) {
      const EffectRecord& last = *known.finished;
      const std::string why = failure_of(last);
      const bool asked =
          last.kind == EffectKind::model_reply || last.kind == EffectKind::human_input;
      if (why != "cancelled" && (why.empty() || !asked || !at_end)) {
        at_end = false;
        if (last.kind != EffectKind::tool_result && last.at < broken_since) break;
        continue;
      }
      if (last.kind != EffectKind::external_stop) at_end = false;
      if (last.kind == EffectKind::model_reply && was_sent(last)) {
        broken_off_[step->first] = last.payload;
      } else if (last.kind == EffectKind::model_reply || !known.started) {
        if (last.kind == EffectKind::external_stop) {
          EffectRecord forgotten = last;
          forgotten.phase = EffectRecord::Phase::started;
          auto kept = journal_->append(run_, forgotten);
          if (!kept) return kept;
        }
        step = recorded_.erase(step);
        continue;
      }
      known.finished.reset();  // that it had been started must not be forgotten
    }
    broken_since = std::min(broken_since, known.started->at);
  }
  return {};
}

std::optional<std::string> EffectLog::take_broken_off(std::uint64_t step) {
  auto found = broken_off_.extract(step);
  return found ? std::optional(std::move(found.mapped())) : std::nullopt;
}

Result<void> EffectLog::start(std::uint64_t seed) {
  auto started = effect<std::uint64_t>(
      EffectKind::start, "", [] { return std::string(); }, [&] { return seed; },
      [](const std::uint64_t& value) {
        return Json{{"seed", value}};
      },
      [](const Json& json) -> Result<std::uint64_t> {
        const auto found = json.find("seed");
        if (found == json.end() || !found->is_number_integer()) {
          return fail(ErrorCode::storage, "the journal's first record has no seed");
        }
        return found->get<std::uint64_t>();
      });
  if (!started) return tl::unexpected<Error>(std::move(started).error());
  random_state_ = *started;
  return {};
}

std::uint64_t EffectLog::random() {
  return split_mix(random_state_);
}

bool EffectLog::was_interrupted(std::uint64_t step) const noexcept {
  const auto found = recorded_.find(step);
  return found != recorded_.end() && !found->second.finished;
}

bool EffectLog::replaying() const noexcept {
  return recording_ && recorded_.lower_bound(next_step_) != recorded_.end();
}

Result<std::optional<Json>> EffectLog::begin(std::uint64_t step, EffectKind kind,
                                             std::string_view name, const std::string& digest) {
  const auto found = recorded_.find(step);
  if (found == recorded_.end()) {
    if (mode_ == JournalMode::replay) {
      return fail(
          ErrorCode::replay_mismatch,
          fmt::format("step {}: the recording of run \"{}\" ends here, but the program goes on "
                      "with {} of \"{}\"",
                      step, run_, to_string(kind), name));
    }
    // A mark takes no time: it cannot have been interrupted.
    if (kind == EffectKind::start) return std::optional<Json>();
    auto kept = journal_->append(run_, {.step = step,
                                        .phase = EffectRecord::Phase::started,
                                        .kind = kind,
                                        .name = std::string(name),
                                        .digest = digest,
                                        .payload = {},
                                        .at = clock_now()});
    if (!kept) return tl::unexpected<Error>(std::move(kept).error());
    return std::optional<Json>();
  }
  const Known& known = found->second;
  const EffectRecord& record = known.finished ? *known.finished : *known.started;
  if (record.kind != kind || record.name != name || record.digest != digest) {
    return fail(ErrorCode::replay_mismatch,
                fmt::format("step {} of run \"{}\" differs: recorded {} of \"{}\" ({}), now {} of "
                            "\"{}\" ({})",
                            step, run_, to_string(record.kind), record.name, record.digest,
                            to_string(kind), name, digest));
  }
  if (!known.finished) {
    if (mode_ == JournalMode::replay) {
      return fail(
          ErrorCode::replay_mismatch,
          fmt::format("step {} of run \"{}\" ({} of \"{}\") had not finished when the recording "
                      "ended",
                      step, run_, to_string(kind), name));
    }
    return std::optional<Json>();
  }
  auto payload = parse_json(record.payload, "its payload");
  if (!payload) return damaged(step, payload.error().message);
  move_to(record.at);
  return std::optional<Json>(std::move(*payload));
}

// Effects that overlapped are given back in the order in which they began, not in that in which
// they finished; so the time must not go back to an earlier finish. The run goes on where it was:
// the clock of a resumed session does not see the time in between.
void EffectLog::move_to(Duration recorded) noexcept {
  last_at_ = std::max(last_at_, recorded);
  origin_ = clock_.now() - last_at_;
}

void EffectLog::advance_to(Duration at) noexcept {
  if (clock_now() < at) return move_to(at);  // a replay takes no time
  last_at_ = std::max(last_at_, at);
}

tl::unexpected<Error> EffectLog::damaged(std::uint64_t step, std::string_view why) const {
  return fail(ErrorCode::storage, fmt::format("journal, run \"{}\", step {}: {}", run_, step, why));
}

Result<void> EffectLog::finish(std::uint64_t step, EffectKind kind, std::string_view name,
                               const std::string& digest, const Json& payload) {
  last_at_ = clock_now();
  return journal_->append(run_, {.step = step,
                                 .phase = EffectRecord::Phase::finished,
                                 .kind = kind,
                                 .name = std::string(name),
                                 .digest = digest,
                                 .payload = dump_json(payload),
                                 .at = last_at_});
}

std::optional<std::string> EffectLog::replayed_stop() {
  const std::string look = std::to_string(++stop_checks_);
  const auto found = recorded_.find(next_step_);
  if (found == recorded_.end() || !found->second.finished ||
      found->second.finished->kind != EffectKind::external_stop ||
      found->second.finished->digest != look) {
    return std::nullopt;
  }
  ++next_step_;
  move_to(found->second.finished->at);
  return found->second.finished->name;
}

Result<void> EffectLog::record_stop(std::string_view reason) {
  const std::uint64_t step = next_step_++;
  if (!recording_ || mode_ == JournalMode::replay) {
    last_at_ = clock_now();
    return {};
  }
  return finish(step, EffectKind::external_stop, reason, std::to_string(stop_checks_), Json());
}

}  // namespace moderato
