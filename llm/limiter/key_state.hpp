#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <optional>
#include <string>

#include <moderato/llm/limiter/limiter_backend.hpp>

namespace moderato {

/// Whether calls of a quota key may go at all, apart from its levels:
///
///   open       normal
///   corrected  a refusal said exactly how full the bucket is; only the levels were changed
///   paused     a refusal said "later" and nothing more: nobody goes before the end
///   closed     billing, or a hint beyond `max_hold`: calls are refused at once. When the time is
///              over one call may try; its success opens the key again, otherwise the next one may
///              try ten minutes later (after a hint the key just opens)
///
/// Every change of what may go begins a new epoch, and a grant carries the epoch in which it was
/// made. An answer of an older epoch can lengthen a pause and do nothing else: it cannot shorten or
/// reopen, and a burst of refusals counts as one. Pure; not thread safe.
class KeyState {
 public:
  explicit KeyState(Duration max_hold) noexcept : max_hold_(max_hold) {}

  enum class Gate : std::uint8_t { go, trial, wait, refuse };
  /// What a call meets now. Ends what is over.
  [[nodiscard]] Gate gate(Instant now) noexcept;
  /// The call that met `trial` goes: the others stay refused for ten minutes.
  void begin_trial(Instant now) noexcept;

  std::optional<KeyChange> succeeded(Instant now, std::uint64_t epoch);
  /// "later": pauses until now + hint, or closes if that is beyond max_hold. Without a hint the
  /// pause grows with each refusal in a row: 1, 2, 4, … 60 s.
  std::optional<KeyChange> told_to_wait(Instant now, std::uint64_t epoch,
                                        std::optional<Duration> hint, const std::string& why);
  /// Levels were corrected; `lasting` until the refused call would fit.
  std::optional<KeyChange> corrected(Instant now, Duration lasting, const std::string& why);
  /// Billing: nothing but somebody's money helps.
  std::optional<KeyChange> out_of_quota(Instant now, std::uint64_t epoch, const std::string& why);
  /// A trial that was never sent did not try anything.
  void not_sent(Instant now, std::uint64_t epoch) noexcept;

  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
  /// End of the pause or closure that holds calls now; `now` if there is none.
  [[nodiscard]] Instant held_until(Instant now) const noexcept;
  /// Why calls are refused now.
  [[nodiscard]] Error refusal(Instant now) const;
  [[nodiscard]] const char* name(Instant now) const noexcept;

 private:
  enum class Phase : std::uint8_t { open, corrected, paused, closed };
  KeyChange change(Phase phase, Instant now, Instant until, const std::string& why);

  Duration max_hold_;
  Phase phase_ = Phase::open;
  bool billing_ = false;        // why it is closed
  bool tell_reopened_ = false;  // a pause is over and nobody has been told
  int refusals_in_a_row_ = 0;   // without a hint
  std::uint64_t epoch_ = 1;
  Instant until_{};
  std::string why_;
};

}  // namespace moderato
