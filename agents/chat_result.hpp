#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <moderato/core/call_totals.hpp>
#include <moderato/core/error.hpp>
#include <moderato/core/message.hpp>
#include <moderato/core/stop.hpp>
#include <moderato/core/transcript.hpp>
#include <moderato/core/usage.hpp>

namespace moderato {

/// What came of a chat. Complete also when a failure ended it: `stop` says which, the rest is what
/// had happened until then.
struct ChatResult {
  std::string summary{};
  Stop stop{};                ///< Never empty.
  std::int64_t calls = 0;     ///< Model calls that were answered, the summary's included.
  std::int64_t attempts = 0;  ///< Requests sent for them, retries included.
  Usage usage{};
  double cost = 0.0;
  Duration queue_wait{};    ///< Time that the calls waited for their permits, added up.
  std::int64_t turns = 0;   ///< Messages of the initiator that were answered.
  Transcript transcript{};  ///< This chat's messages, one entry a message.
  /// The initiator's view of its talk with the recipient (as AutoGen has it), earlier chats of the
  /// session included unless their history was cleared.
  MessageList chat_history{};
  /// What the initiator's human typed, in order, "" and "exit" included.
  std::vector<std::string> human_inputs{};
  /// Why there is no summary, if one was asked for and could not be made.
  std::optional<Error> summary_error{};
  std::string session{};  ///< Session id.
};

/// What was used between two snapshots.
[[nodiscard]] CallTotals::Snapshot used_between(const CallTotals::Snapshot& before,
                                                const CallTotals::Snapshot& after) noexcept;

}  // namespace moderato
