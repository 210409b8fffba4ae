#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <optional>
#include <string_view>

#include <moderato/core/error.hpp>
#include <moderato/llm/limiter/limiter_backend.hpp>
#include <moderato/llm/limiter/short_text.hpp>

namespace moderato {

/// Whether calls of a quota key may go at all, and at what share of the rate, apart from its
/// levels:
///
///   open       normal
///   corrected  a refusal said exactly how full the bucket is; only the levels were changed
///   paused     a refusal said "later" and nothing more: nobody goes before the end, then one
///   probes overload   the provider fails (503, 529, three failures in a row): one probe at a time
///   for
///              everybody, after 0.5, 1, 2, then 3.6 s
///   probing    one call is under way to find out. It succeeds, or refusals are known to come fast
///              and none came for four times as long: the key opens
///   ramp       open at a growing share of the rate: half and a quarter more each second after a
///              probe; half and then slowly more after "slow down"
///   closed     billing, or a hint beyond `max_hold`: calls are refused at once. When the time is
///              over one call may try; its success opens the key again, otherwise the next one may
///              try ten minutes later (after a hint the key just opens)
///
/// Every change of what may go begins a new epoch, and a grant carries the epoch in which it was
/// made. An answer of an older epoch can lengthen a pause and do nothing else: it cannot shorten or
/// reopen, and a burst of refusals counts as one. A value without pointers. Pure; not thread safe.
class KeyState {
 public:
  explicit KeyState(Duration max_hold = std::chrono::seconds(120)) noexcept : max_hold_(max_hold) {}
  /// A copy of what another process kept byte by byte; nullopt if it cannot be one.
  [[nodiscard]] static std::optional<KeyState> from_bytes(std::string_view bytes);

  enum class Gate : std::uint8_t { go, probe, wait, refuse };
  /// What a call meets now. Ends what is over.
  [[nodiscard]] Gate gate(Instant now) noexcept;
  /// The call that met `probe` goes; the others wait (or stay refused) until it has told.
  void begin_probe(Instant now) noexcept;

  std::optional<KeyChange> succeeded(Instant now, std::uint64_t epoch);
  /// "later": pauses until now + hint, or closes if that is beyond max_hold. Without a hint the
  /// pause grows with each refusal in a row: 1, 2, 4, … 60 s. `took`: how long the answer took.
  std::optional<KeyChange> told_to_wait(Instant now, std::uint64_t epoch,
                                        std::optional<Duration> hint, std::string_view why,
                                        Duration took = {});
  /// Levels were corrected; `lasting` until the refused call would fit.
  std::optional<KeyChange> corrected(Instant now, std::uint64_t epoch, Duration lasting,
                                     std::string_view why);
  /// Billing, or (`close` of a profile) a spending limit: nothing but somebody's money helps.
  std::optional<KeyChange> out_of_quota(Instant now, std::uint64_t epoch, std::string_view why);
  /// The provider is not up to its load: at least `hint` without calls.
  std::optional<KeyChange> overloaded(Instant now, std::uint64_t epoch,
                                      std::optional<Duration> hint, std::string_view why,
                                      Duration took = {});
  /// A failure that is nobody's fault by itself; the third in a row is an overload.
  std::optional<KeyChange> failed(Instant now, std::uint64_t epoch, std::string_view why,
                                  Duration took = {});
  /// "Slow down", without an empty bucket: half the rate at once, then slowly more. `gentle`: half
  /// as much again each 15 minutes, else 10 % of the rate each second.
  std::optional<KeyChange> slow_down(Instant now, std::uint64_t epoch, bool gentle,
                                     std::string_view why);
  /// A probe that was never sent did not try anything.
  void not_sent(Instant now, std::uint64_t epoch) noexcept;

  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
  /// Share of the rate that may be used now, in thousandths: 1000 unless ramping.
  [[nodiscard]] int share(Instant now) const noexcept;
  /// The key has opened after having been held, and nothing has gone since; once. Whoever is
  /// first to go finds the bucket empty, so that those who waited do not go all at once.
  [[nodiscard]] bool take_reopened() noexcept;
  /// End of the hold that stops calls now; `now` if there is none.
  [[nodiscard]] Instant held_until(Instant now) const noexcept;
  /// Why calls are refused now.
  [[nodiscard]] Error refusal(Instant now) const;
  [[nodiscard]] const char* name(Instant now) const noexcept;
  [[nodiscard]] std::string_view why() const noexcept { return why_.view(); }

 private:
  enum class Phase : std::uint8_t { open, corrected, paused, overload, probing, closed };
  KeyChange change(Phase phase, Instant now, Instant until, std::string_view why);
  void open_gently(Instant now) noexcept;

  Duration max_hold_;
  Phase phase_ = Phase::open;
  bool billing_ = false;        // why it is closed
  bool tell_reopened_ = false;  // it is open again and nobody has been told
  bool reopened_ = false;       // see take_reopened()
  int refusals_in_a_row_ = 0;   // without a hint
  int overloads_in_a_row_ = 0;
  int failures_in_a_row_ = 0;
  std::uint64_t epoch_ = 1;
  Instant until_{};
  Duration answered_in_{};  // the refusal that holds the key came so fast; 0: not known
  Instant ramp_from_{};
  int ramp_share_ = 1000;    // at ramp_from_
  int ramp_per_second_ = 0;  // growth in millionths of the rate
  ShortText<200> why_;
};

}  // namespace moderato
