#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <typeindex>
#include <unordered_map>

#include <moderato/core/call_context.hpp>
#include <moderato/core/effect.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/core/transcript.hpp>
#include <moderato/core/usage.hpp>

namespace moderato {

struct SessionOptions {
  /// Names the session in events, ledger and journal. Empty: drawn from the runtime's random
  /// numbers.
  std::string id{};
  std::string tenant{};
  Priority priority = Priority::normal;
  Observer observer{};
  std::stop_token stop{};
  /// On the runtime's clock.
  Instant deadline = no_deadline;
  /// Shared by every chat of the session; null: none.
  std::shared_ptr<TokenBudget> budget{};
  /// Asked before every model, in place of the models' own; null: the models' own.
  std::shared_ptr<ReplyCache> cache{};
  /// Records effects; null: they are not recorded.
  std::shared_ptr<Journal> journal{};
  JournalMode journal_mode = JournalMode::record;
  InterruptedTools interrupted_tools = InterruptedTools::stop;
  /// The totals of the session that this one is a part of: what is used here counts there, too, at
  /// once. Borrowed; null: it is part of none.
  CallTotals* part_of = nullptr;
};

/// Everything that changes in a conversation lives here: the parties' histories and counters, the
/// budget, the usage, the position in the journal. Agents hold none of it, so one agent serves
/// thousands of sessions at once.
///
/// A session holds any number of chats among any number of agents, one after the other. Giving the
/// same session to initiate_chat again goes on where it was. Not thread safe: one chat at a time.
/// Two sessions share nothing.
class Session {
 public:
  /// Throws std::invalid_argument if the journal cannot be opened as asked (the text says why).
  explicit Session(Runtime& runtime, SessionOptions options = {});
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  [[nodiscard]] Runtime& runtime() noexcept { return runtime_; }
  [[nodiscard]] const std::string& id() const noexcept { return options_.id; }
  [[nodiscard]] const SessionOptions& options() const noexcept { return options_; }
  [[nodiscard]] EffectLog& effects() noexcept { return *effects_; }
  [[nodiscard]] Transcript& transcript() noexcept { return transcript_; }
  /// What all chats of the session used so far.
  [[nodiscard]] CallTotals& totals() noexcept { return totals_; }
  /// The runtime's observer and the session's own.
  [[nodiscard]] const Observer& observer() const noexcept { return observer_; }

  /// A context for a call made on behalf of this session, with all of the above filled in.
  [[nodiscard]] CallContext context(std::string agent = {}, Purpose purpose = Purpose::reply);

  /// State that another module keeps with the session, made at first use: one `T` a session.
  template <class T>
  [[nodiscard]] T& part() {
    auto& slot = parts_[std::type_index(typeid(T))];
    if (!slot) slot = std::make_shared<T>();
    return *static_cast<T*>(slot.get());
  }

 private:
  Runtime& runtime_;
  SessionOptions options_;
  Observer observer_;
  std::unique_ptr<EffectLog> effects_;
  Transcript transcript_;
  CallTotals totals_;
  std::unordered_map<std::type_index, std::shared_ptr<void>> parts_;
};

}  // namespace moderato
