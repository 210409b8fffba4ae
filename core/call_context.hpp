#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include <moderato/core/budget.hpp>
#include <moderato/core/call_record.hpp>
#include <moderato/core/call_totals.hpp>
#include <moderato/core/clock.hpp>
#include <moderato/core/observer.hpp>

namespace moderato {

/// How urgent a call is; the limiter weighs the classes.
enum class Priority : std::uint8_t { interactive, normal, batch };

[[nodiscard]] std::string_view to_string(Priority priority) noexcept;

class EffectLog;
class ReplyCache;  // llm/cache/reply_cache.hpp

/// On whose behalf, how long, and for what: handed down from the chat to every wait below it.
/// A plain value; `effects` is borrowed and outlives every call made with the context.
struct CallContext {
  std::string session{};  ///< Session id; empty outside a session.
  std::string tenant{};   ///< For fairness and for the ledger; empty is a tenant like any other.
  std::string agent{};
  Purpose purpose = Purpose::reply;
  Priority priority = Priority::normal;
  Instant deadline = no_deadline;  ///< On the runtime's clock. Nothing sleeps beyond it.
  std::stop_token stop{};
  Observer observer{};
  /// Charged for every call; null: no budget.
  std::shared_ptr<TokenBudget> budget{};
  /// This call is the one whose cost the budget set aside at the start.
  bool final_answer = false;
  /// Asked before the model is, in place of the model's own; null: the model's own.
  std::shared_ptr<ReplyCache> cache{};
  /// Told what every call used; borrowed like `effects`; null: nobody.
  CallTotals* totals = nullptr;
  /// Where effects are recorded and replayed; null: neither.
  EffectLog* effects = nullptr;

  /// Tells the observer, if there is one. `make` returns the EventData and runs only if needed.
  template <class Make>
  void notify(const Clock& clock, Make&& make) const {
    if (observer) tell(clock, make);
  }

 private:
  /// Not inlined: the event is large, and a waiting fiber keeps the frames of its functions.
  template <class Make>
  [[gnu::noinline]] void tell(const Clock& clock, Make& make) const {
    observer(Event{.at = clock.now(), .session = session, .data = make()});
  }
};

}  // namespace moderato
