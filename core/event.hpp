#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include <moderato/core/call_record.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/stop.hpp>
#include <moderato/core/time.hpp>
#include <moderato/core/transcript.hpp>

namespace moderato {

/// A chat began.
struct ChatStarted {
  std::string initiator{};
  std::string recipient{};
};
/// A message was said (both sides have it now).
struct MessageAdded {
  TranscriptEntry entry{};
};
/// A piece of a streamed reply arrived. Pieces of one reply, concatenated, are its text.
struct TokenDelta {
  std::string agent{};
  std::string text{};
};
/// A model call waits for its permit.
struct CallQueued {
  std::string agent{};
  std::string model{};
  std::string reason{};  ///< Which dimension has no room: "requests", "tokens", "in_flight", …
  Duration expected_wait{};
  std::size_t position = 0;  ///< Calls ahead in the queue.
};
/// A model call got its permit.
struct CallAdmitted {
  std::string agent{};
  std::string model{};
  Duration waited{};
};
/// The request went out.
struct CallSent {
  std::string agent{};
  std::string model{};
  int attempt = 1;
};
/// An attempt ended well.
struct CallFinished {
  CallRecord record{};
};
/// An attempt ended badly: refused by the provider, broken, timed out, or not sent at all.
struct CallRejected {
  CallRecord record{};
  Error error{};
};
/// The call will be tried again after `delay`.
struct CallRetried {
  std::string agent{};
  std::string model{};
  int next_attempt = 2;
  Duration delay{};
  std::string why{};
};
struct ToolStarted {
  std::string agent{};
  std::string tool{};
  std::string arguments{};
  std::string call_id{};
};
/// A tool that is running said how far it is.
struct ToolProgress {
  std::string agent{};
  std::string tool{};
  std::string call_id{};
  std::string text{};
};
struct ToolFinished {
  std::string agent{};
  std::string tool{};
  std::string call_id{};
  bool ok = true;
  Duration took{};
  std::string result{};
};
struct HumanAsked {
  std::string agent{};
  std::string prompt{};
};
struct HumanAnswered {
  std::string agent{};
  std::string input{};
};
struct BudgetChanged {
  std::int64_t spent = 0;
  std::int64_t reserved = 0;
  std::int64_t total = 0;
};
/// The conversation seems to repeat itself.
struct LoopSuspected {
  std::string agent{};
  std::string pattern{};  ///< "same message", "cycle of 2", "same tool call", "farewells".
  int repeats = 0;
  std::string evidence{};  ///< The repeated words, shortened.
};
/// A limiter key changed its state (open, corrected, paused, closed, …).
struct LimiterChanged {
  std::string key{};
  std::string state{};
  Duration lasting{};  ///< Until the state ends by itself; 0 if it does not or is over.
  std::string why{};
};
/// An agent is shown less than there is: the transcript keeps everything.
struct ContextTrimmed {
  std::string agent{};
  std::string by{};  ///< The transform, or "context window".
  std::size_t messages_left_out = 0;
  std::size_t bytes_left_out = 0;  ///< Of text, those of whole messages included.
  std::size_t messages_shown = 0;
};
/// Something that a person should know and that did not stop anything.
struct Warning {
  std::string text{};
};
/// The chat ended.
struct Stopped {
  Stop stop{};
  std::int64_t calls = 0;
  Usage usage{};
};

using EventData =
    std::variant<ChatStarted, MessageAdded, TokenDelta, CallQueued, CallAdmitted, CallSent,
                 CallFinished, CallRejected, CallRetried, ToolStarted, ToolFinished, HumanAsked,
                 HumanAnswered, BudgetChanged, LoopSuspected, LimiterChanged, ContextTrimmed,
                 Warning, ToolProgress, Stopped>;

/// Everything that the runtime does, as it happens.
struct Event {
  Instant at{};           ///< On the runtime's clock.
  std::string session{};  ///< Session id; empty if the event belongs to none.
  EventData data{};
};

/// snake_case name of the event's struct: "message_added".
[[nodiscard]] std::string_view name_of(const Event& event) noexcept;
/// {"at": seconds, "session": …, "event": name, …}; the order of members is fixed.
[[nodiscard]] Json to_json(const Event& event);

}  // namespace moderato
