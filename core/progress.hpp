#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include <moderato/core/budget.hpp>
#include <moderato/core/observer.hpp>
#include <moderato/core/time.hpp>

namespace moderato {

enum class ProgressForm : std::uint8_t {
  automatic,  ///< `redrawn` if the file is a terminal, else `lines`.
  redrawn,    ///< A few lines that are drawn again in place.
  lines,      ///< One line after the other, for log files.
};

struct ProgressOptions {
  /// How many chats there will be; 0: nobody knows.
  std::size_t chats = 0;
  /// The quota that the calls of the last minute are shown against; 0: none.
  std::int64_t calls_per_minute = 0;
  /// The budget that the chats share; null: only the tokens used are shown.
  std::shared_ptr<TokenBudget> budget{};
  ProgressForm form = ProgressForm::automatic;
  /// At most so often, by the clock of the events; 0: 100 ms where it is redrawn, 10 s for lines.
  Duration every{};
  /// How many of the last errors are shown.
  std::size_t errors = 3;
};

/// Shows how far many chats are, for whoever waits for them:
///
///     chats   ━━━━━━━━━━━━━━━━━───────────────────────  412 of 1000 done, 64 running, 524 to come
///     calls   58 in the last minute of 60, 3 wait (requests)
///     tokens  123,400 of 1,000,000
///     finish  in about 3 min 20 s
///     error   chat-17, writer: rate_limited: … (2 s ago)
///
///     Progress progress(stderr, {.chats = letters.size()});
///     Runtime runtime({.observer = progress.observer()});
///
/// Chats within chats are not counted on their own. What is shown moves with the events; between
/// them nothing is drawn. `file` must outlive it. Thread safe.
class Progress {
 public:
  explicit Progress(std::FILE* file = stderr, ProgressOptions options = {});
  /// Shows the last state. Observers that are left over show nothing any more.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// May outlive *this.
  [[nodiscard]] Observer observer() const;
  /// All of it in one line, as `lines` shows it.
  [[nodiscard]] std::string text() const;

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace moderato
