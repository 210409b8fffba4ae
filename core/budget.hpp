#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <moderato/core/result.hpp>
#include <moderato/core/usage.hpp>

namespace moderato {

/// A total of text tokens that is never exceeded: tokens are reserved before a call is sent
/// (estimated prompt + the output cap that is sent with it) and settled after it. Many chats may
/// share one budget; a child budget also draws on its parent, and a reservation holds in both or in
/// neither. Thread safe; held by std::shared_ptr.
///
/// Overshoot is zero whenever the prompt estimate is an upper bound; otherwise `overrun()` says by
/// how much the real usage went above what was reserved and available.
class TokenBudget : public std::enable_shared_from_this<TokenBudget> {
 public:
  struct Options {
    std::int64_t total = 0;  ///< Tokens, input and output together; ≥ 0.
    /// Set aside at the start for one closing call, in the ancestors as well (where they have less
    /// left: so much); only `reserve_final` may use it.
    std::int64_t final_answer_reserve = 0;
    std::shared_ptr<TokenBudget> parent{};
  };

  /// Room taken for one call. Move only; ends exactly once: settled, or refunded by the destructor.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept;
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation() { refund(); }

    /// Tokens the reply may have at most: send this as the output cap. 0 for an empty reservation.
    [[nodiscard]] std::int64_t output_cap() const noexcept { return output_cap_; }
    [[nodiscard]] std::int64_t tokens() const noexcept { return tokens_; }
    /// Charges what the call really used and gives back the rest.
    void settle(std::int64_t used) noexcept;
    /// Charges the whole reservation: the outcome is unknown (cancelled or timed out after
    /// sending).
    void settle_all() noexcept { settle(tokens_); }
    /// Gives everything back: nothing was sent, or the provider refused it.
    void refund() noexcept;

   private:
    friend class TokenBudget;
    std::shared_ptr<TokenBudget> budget_;
    std::int64_t tokens_ = 0;
    std::int64_t output_cap_ = 0;
    std::int64_t set_aside_ = 0;  ///< The final answer's reserve that this call took over.
  };

  [[nodiscard]] static std::shared_ptr<TokenBudget> make(Options options);
  [[nodiscard]] static std::shared_ptr<TokenBudget> make(std::int64_t total) {
    return make(Options{.total = total});
  }

  /// Takes `input` + up to `output` tokens; the output share is lowered to what is left, never
  /// below `min_output`. Error budget_exhausted (with the numbers) if that does not fit.
  [[nodiscard]] Result<Reservation> reserve(std::int64_t input, std::int64_t output,
                                            std::int64_t min_output = 1);
  /// The same, and may use the final answer's reserve. Only once: what the call leaves over is free
  /// for all; after a call that cost nothing (refused, not sent) it is set aside again for its
  /// retry.
  [[nodiscard]] Result<Reservation> reserve_final(std::int64_t input, std::int64_t output,
                                                  std::int64_t min_output = 1);

  [[nodiscard]] std::int64_t total() const noexcept { return total_; }
  [[nodiscard]] std::int64_t spent() const;     ///< Settled tokens.
  [[nodiscard]] std::int64_t reserved() const;  ///< In calls that are under way.
  /// What a new ordinary call may take: total − spent − reserved − final answer's reserve, in this
  /// budget and in every ancestor; never negative.
  [[nodiscard]] std::int64_t left() const;
  /// What `reserve_final` may take; never negative.
  [[nodiscard]] std::int64_t left_for_final_answer() const;
  [[nodiscard]] std::int64_t overrun() const;  ///< max(0, spent − total).
  /// Charges tokens that were spent elsewhere (a resumed or replayed call).
  void charge(std::int64_t tokens);

  explicit TokenBudget(Options options);  ///< Use make().
  ~TokenBudget();
  TokenBudget(const TokenBudget&) = delete;
  TokenBudget& operator=(const TokenBudget&) = delete;

 private:
  Result<Reservation> take(std::int64_t input, std::int64_t output, std::int64_t min_output,
                           bool final_answer);
  /// This budget's lock and those of all ancestors.
  [[nodiscard]] std::vector<std::unique_lock<std::mutex>> lock_chain() const;
  std::int64_t left_locked() const;
  std::int64_t room(bool final_answer) const;
  /// Adds to (or takes from) what every ancestor keeps for this budget's final answer.
  void hold_in_ancestors(std::int64_t tokens) noexcept;
  void settle(const Reservation& reservation, std::int64_t used) noexcept;

  const std::int64_t total_;
  const std::shared_ptr<TokenBudget> parent_;
  mutable std::mutex mutex_;
  std::int64_t spent_ = 0;
  std::int64_t reserved_ = 0;
  std::int64_t final_reserve_ = 0;
  std::int64_t held_for_children_ = 0;  // their final reserves
};

}  // namespace moderato
