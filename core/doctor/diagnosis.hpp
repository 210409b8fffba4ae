#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/call_record.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/stop.hpp>
#include <moderato/core/time.hpp>

namespace moderato {

class SqliteJournal;

/// Why calls are refused, slow or wasted.
enum class Cause : std::uint8_t {
  billing,              ///< The provider wants money, not patience.
  parallel_bursts,      ///< More calls at once than the quota carries; spread out they would fit.
  stacked_retries,      ///< Something around the model tries again what the model has tried again.
  foreign_consumption,  ///< Somebody else draws on the same key.
  quota_too_small,      ///< The load itself is larger than the quota.
  loop,                 ///< The same words again and again.
  chatter,              ///< Chats that only their caps end.
  high_cap,             ///< Some chats run into a cap that is far above what the others need.
  speaker_selection,    ///< Choosing who speaks costs more than the speaking.
  context_growth,       ///< Prompts that grow with each turn.
  long_outputs,         ///< Much more output reserved than is used.
  cache_misses,         ///< Identical requests that were paid for again.
  slow_tool,            ///< The time goes into a tool, not into the model.
};

[[nodiscard]] std::string_view to_string(Cause cause) noexcept;

struct ToolRun {
  std::string session{};
  std::string tool{};
  Duration took{};
};
struct ChatEnd {
  std::string session{};
  StopReason reason = StopReason::none;
  std::int64_t calls = 0;
};

/// What a diagnosis is made from.
struct CaseHistory {
  std::vector<CallRecord> calls{};
  std::vector<ToolRun> tools{};
  std::vector<ChatEnd> ends{};
};

/// The history of one run of a journal, or of all runs if `run` is empty. Errors: storage.
[[nodiscard]] Result<CaseHistory> case_history(SqliteJournal& journal, const std::string& run = {});

struct Explanation {
  Cause cause{};
  /// 0 to 1: of the refusals that it explains; where none was refused, of what was spent.
  double share = 0.0;
  std::string evidence{};  ///< The numbers that show it.
  std::string option{};    ///< The setting that changes it: "max_in_flight of quota".
  double value = 0.0;      ///< What to set it to, from the data; 0: no number helps.
  std::string fix{};       ///< Both in a sentence.
};

struct Diagnosis {
  std::int64_t calls = 0;               ///< Answered.
  std::int64_t attempts = 0;            ///< Sent.
  std::int64_t refused = 0;             ///< HTTP 429.
  std::vector<Explanation> findings{};  ///< The largest share first.

  [[nodiscard]] bool healthy() const noexcept { return findings.empty(); }
};

/// Looks for each cause on its own. Pure.
[[nodiscard]] Diagnosis diagnose(const CaseHistory& history);

[[nodiscard]] Json to_json(const Diagnosis& diagnosis);
/// For people; the last line is the change with the largest effect.
[[nodiscard]] std::string to_string(const Diagnosis& diagnosis);

}  // namespace moderato
