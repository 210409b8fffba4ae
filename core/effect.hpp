#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/clock.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>

namespace moderato {

class Runtime;          // runtime.hpp
class Session;          // session.hpp
struct SessionOptions;  // session.hpp

/// A conversation is a function of its configuration and of these.
enum class EffectKind : std::uint8_t {
  start,  ///< Step 0: the wall clock and the seed of the run.
  model_reply,
  tool_result,
  human_input,
  code_execution,
  external_stop,  ///< The stop token or the deadline was seen.
};

[[nodiscard]] std::string_view to_string(EffectKind kind) noexcept;
[[nodiscard]] std::optional<EffectKind> effect_kind_from_string(std::string_view name) noexcept;

/// One entry of a journal. An effect has two (a `start` has only the second): `started` (written
/// before it is performed, so that a resumed run knows what was under way) and `finished` (written
/// before the result is acted on).
struct EffectRecord {
  enum class Phase : std::uint8_t { started, finished };
  std::uint64_t step = 0;
  Phase phase = Phase::finished;
  EffectKind kind = EffectKind::model_reply;
  std::string name{};     ///< Whose effect: agent or tool name.
  std::string digest{};   ///< Of the request; a replay compares it.
  std::string payload{};  ///< JSON text of the result; empty for `started`.
  Duration at{};          ///< Session time (since the start of the run) when it was written.

  bool operator==(const EffectRecord&) const = default;
};

/// Where effects are kept. Implementations are thread safe; when append returns, the record is as
/// durable as the journal promises.
class Journal : public std::enable_shared_from_this<Journal> {
 public:
  virtual ~Journal() = default;
  virtual Result<void> append(std::string_view run, const EffectRecord& record) = 0;
  /// All records of a run in the order in which they were appended; empty for an unknown run.
  virtual Result<std::vector<EffectRecord>> read(std::string_view run) = 0;
  /// Makes the caller the only one who writes to the run, until the last copy of what is given
  /// back is gone. Error: configuration, if somebody else has it (the text says who). A journal
  /// that only one process can see need not tell the two apart: null.
  virtual Result<std::shared_ptr<void>> claim(std::string_view run);

  /// A session that goes on with a run (JournalMode::resume): hold the same conversations in it,
  /// and what is recorded is not done again. Of `options`, id, journal and journal_mode are not
  /// looked at. Errors: storage; configuration (there is no such run, or somebody else has it
  /// open). The journal must belong to a shared_ptr.
  Result<std::unique_ptr<Session>> resume(Runtime& runtime, std::string run,
                                          SessionOptions options);
  Result<std::unique_ptr<Session>> resume(Runtime& runtime, std::string run);
};

/// Keeps records in memory.
class MemoryJournal final : public Journal {
 public:
  Result<void> append(std::string_view run, const EffectRecord& record) override;
  Result<std::vector<EffectRecord>> read(std::string_view run) override;

 private:
  std::mutex mutex_;
  std::map<std::string, std::vector<EffectRecord>, std::less<>> runs_;
};

enum class JournalMode : std::uint8_t {
  record,  ///< A new run: everything is live. A run that already has records is an error.
  /// Recorded effects are replayed, then the run goes on live. What ended it from outside is
  /// forgotten: a stop, a model or a person that could not be reached.
  resume,
  replay,  ///< Recorded effects only; going beyond them is a replay_mismatch.
};

/// What becomes of a tool call that had been started, and had not finished, when the process died.
/// (One that is `idempotent` is run again in any case.)
enum class InterruptedTools : std::uint8_t {
  stop,        ///< The chat ends with tool_error; resume again with another choice.
  run_again,   ///< For whoever knows that it did not happen, or that twice does no harm.
  tell_model,  ///< The model is told that nobody knows whether it happened.
};

/// The one place through which a session's effects pass. Without a journal it only counts steps.
///
/// Steps are numbered when an effect *begins*, in program order, so that effects which overlap
/// (parallel tool calls) keep their numbers in a replay. Used by one session: not thread safe,
/// except that effects begun on the session's fiber may be finished by others of its fibers.
class EffectLog {
 public:
  /// No journal: nothing is recorded.
  explicit EffectLog(const Clock& clock);
  /// Opens `run`, and claims it unless it is only replayed. Errors: storage; configuration (record
  /// mode on a run that exists; replay of none; a run that somebody else has open).
  static Result<std::unique_ptr<EffectLog>> open(std::shared_ptr<Journal> journal, std::string run,
                                                 JournalMode mode, const Clock& clock);

  /// Performs an effect, or gives back what was recorded for it: `effect<T>(kind, name, …)`.
  ///   digest()            → std::string: identifies the request; only called with a journal.
  ///   perform()           → T
  ///   encode(const T&)    → Json;  decode(const Json&) → Result<T>
  /// Errors: replay_mismatch (names the step and both sides), storage. A `T` that is itself a
  /// Result records failures like successes. What `encode` makes a discarded Json of is not
  /// recorded: it has not happened yet, and a resumed run performs it again.
  template <class T, class Digest, class Perform, class Encode, class Decode>
  Result<T> effect(EffectKind kind, std::string_view name, Digest&& digest, Perform&& perform,
                   Encode&& encode, Decode&& decode) {
    return effect_at<T>(take_steps(1), kind, name, std::forward<Digest>(digest),
                        std::forward<Perform>(perform), std::forward<Encode>(encode),
                        std::forward<Decode>(decode));
  }

  /// False without a journal: effects are only counted then.
  [[nodiscard]] bool recording() const noexcept { return recording_; }
  /// An effect where nothing is recorded: counted and performed. It needs less of a fiber's stack.
  template <class Perform>
  auto unrecorded_effect(Perform&& perform) {
    take_steps(1);
    stop_checks_ = 0;
    auto value = perform();
    last_at_ = clock_now();
    return value;
  }

  /// Takes the next steps for effects that will overlap, so that their numbers do not depend on
  /// which begins first; returns the first.
  std::uint64_t take_steps(std::uint64_t count) noexcept {
    next_step_ += count;
    return next_step_ - count;
  }

  /// An effect under a number that take_steps gave.
  template <class T, class Digest, class Perform, class Encode, class Decode>
  Result<T> effect_at(std::uint64_t step, EffectKind kind, std::string_view name, Digest&& digest,
                      Perform&& perform, Encode&& encode, Decode&& decode) {
    stop_checks_ = 0;
    if (!recording_) {
      T value = perform();
      last_at_ = clock_now();
      return value;
    }
    const std::string request = digest();
    auto known = begin(step, kind, name, request);
    if (!known) return tl::unexpected<Error>(std::move(known).error());
    if (known->has_value()) {
      try {
        return decode(**known);
      } catch (const Json::exception& thrown) {  // the payload has another shape
        return damaged(step, thrown.what());
      }
    }
    T value = perform();
    const Json payload = encode(value);
    if (payload.is_discarded()) return value;
    if (auto kept = finish(step, kind, name, request, payload); !kept) {
      return tl::unexpected<Error>(std::move(kept).error());
    }
    return value;
  }

  /// Asked wherever a stop from outside is looked for. If the recording says that one was seen at
  /// this very look (they are counted from effect to effect), returns its reason. Live: nullopt.
  [[nodiscard]] std::optional<std::string> replayed_stop();
  /// Records that a stop was seen from outside. Live only; a replay that is stopped from outside
  /// stops, but leaves its recording alone.
  Result<void> record_stop(std::string_view reason);

  /// What had been started and not finished when the run was interrupted, in order of steps: where
  /// a resumed run cannot know whether it happened. Model calls among them are made again and may
  /// be paid for twice.
  [[nodiscard]] const std::vector<EffectRecord>& interrupted() const noexcept {
    return interrupted_;
  }
  /// True if the next effect is one of those.
  [[nodiscard]] bool next_was_interrupted() const noexcept { return was_interrupted(next_step_); }
  [[nodiscard]] bool was_interrupted(std::uint64_t step) const noexcept;
  /// What had been recorded of a model call that a resumed run makes again although it had been
  /// sent (it was broken off): whoever makes it again charges that, too. Gives it once.
  [[nodiscard]] std::optional<std::string> take_broken_off(std::uint64_t step);
  /// Session time of the last record that there was when the run was opened.
  [[nodiscard]] Duration recorded_until() const noexcept { return recorded_until_; }

  /// True while recorded effects are being given back.
  [[nodiscard]] bool replaying() const noexcept;
  /// Time since the start of the run as of the last effect: the same in a replay (of effects that
  /// overlap: once all of them are done).
  [[nodiscard]] Duration session_time() const noexcept { return last_at_; }
  /// Something that belongs to the run and is recorded elsewhere (in a session of its own) ended at
  /// this time of the run.
  void advance_to(Duration at) noexcept;
  [[nodiscard]] std::uint64_t steps() const noexcept { return next_step_; }
  /// A number that is random in a recorded run and the same in its replay (SplitMix64 of the seed).
  [[nodiscard]] std::uint64_t random();
  /// Performs step 0; called by Session. `seed` is used unless one was recorded.
  Result<void> start(std::uint64_t seed);

 private:
  Duration clock_now() const noexcept { return clock_.now() - origin_; }
  Result<void> forget_what_ended_it();
  void move_to(Duration recorded) noexcept;
  tl::unexpected<Error> damaged(std::uint64_t step, std::string_view why) const;
  Result<std::optional<Json>> begin(std::uint64_t step, EffectKind kind, std::string_view name,
                                    const std::string& digest);
  Result<void> finish(std::uint64_t step, EffectKind kind, std::string_view name,
                      const std::string& digest, const Json& payload);

  const Clock& clock_;
  std::shared_ptr<Journal> journal_;
  std::shared_ptr<void> claim_;
  std::string run_;
  JournalMode mode_ = JournalMode::record;
  bool recording_ = false;
  Instant origin_{};
  Duration last_at_{};
  std::uint64_t next_step_ = 0;
  std::uint64_t stop_checks_ = 0;  // since the last effect began
  std::uint64_t random_state_ = 0;
  struct Known {
    std::optional<EffectRecord> started;
    std::optional<EffectRecord> finished;
  };
  std::map<std::uint64_t, Known> recorded_;
  std::vector<EffectRecord> interrupted_;
  std::map<std::uint64_t, std::string> broken_off_;  // payloads by step
  Duration recorded_until_{};
};

}  // namespace moderato
