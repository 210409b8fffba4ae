#include <moderato/core/budget.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

// A budget and its ancestors
//
// A reservation must hold in the budget and in all of its ancestors, or in none. The locks of the
// chain are taken child first, parent next, and all are held while the reservation is made; every
// caller walks in that direction, so no two of them can wait for each other. Chains are short
// (chat, tenant).
//
// What a chat sets aside for its final answer is kept in its ancestors, too, from the moment when
// the chat's budget is made: else the other chats of a tenant could spend it.

namespace moderato {

TokenBudget::TokenBudget(Options options)
    : total_(options.total),
      parent_(std::move(options.parent)),
      final_reserve_(options.final_answer_reserve) {
  if (total_ < 0) throw std::invalid_argument("TokenBudget: total must not be negative");
  if (final_reserve_ < 0 || final_reserve_ > total_) {
    throw std::invalid_argument(fmt::format(
        "TokenBudget: the final answer's reserve ({} tokens) must lie between 0 and the total ({})",
        final_reserve_, total_));
  }
  if (!parent_ || final_reserve_ == 0) return;
  const auto locks = parent_->lock_chain();
  for (const TokenBudget* budget = parent_.get(); budget != nullptr;
       budget = budget->parent_.get()) {
    final_reserve_ = std::clamp<std::int64_t>(budget->left_locked(), 0, final_reserve_);
  }
  hold_in_ancestors(final_reserve_);
}

TokenBudget::~TokenBudget() {
  for (TokenBudget* budget = parent_.get(); budget != nullptr; budget = budget->parent_.get()) {
    const std::scoped_lock lock(budget->mutex_);
    budget->held_for_children_ -= final_reserve_;
  }
}

std::shared_ptr<TokenBudget> TokenBudget::make(Options options) {
  return std::make_shared<TokenBudget>(std::move(options));
}

TokenBudget::Reservation::Reservation(Reservation&& other) noexcept
    : budget_(std::exchange(other.budget_, nullptr)),
      tokens_(other.tokens_),
      output_cap_(other.output_cap_),
      set_aside_(other.set_aside_) {}

TokenBudget::Reservation& TokenBudget::Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    refund();
    budget_ = std::exchange(other.budget_, nullptr);
    tokens_ = other.tokens_;
    output_cap_ = other.output_cap_;
    set_aside_ = other.set_aside_;
  }
  return *this;
}

void TokenBudget::Reservation::settle(std::int64_t used) noexcept {
  if (const auto budget = std::exchange(budget_, nullptr)) budget->settle(*this, used);
}

void TokenBudget::Reservation::refund() noexcept {
  settle(0);
}

std::vector<std::unique_lock<std::mutex>> TokenBudget::lock_chain() const {
  std::vector<std::unique_lock<std::mutex>> locks;
  for (const TokenBudget* budget = this; budget != nullptr; budget = budget->parent_.get()) {
    locks.emplace_back(budget->mutex_);
  }
  return locks;
}

std::int64_t TokenBudget::left_locked() const {
  return total_ - spent_ - reserved_ - final_reserve_ - held_for_children_;
}

void TokenBudget::hold_in_ancestors(std::int64_t tokens) noexcept {
  for (TokenBudget* budget = parent_.get(); budget != nullptr; budget = budget->parent_.get()) {
    budget->held_for_children_ += tokens;
  }
}

Result<TokenBudget::Reservation> TokenBudget::reserve(std::int64_t input, std::int64_t output,
                                                      std::int64_t min_output) {
  return take(input, output, min_output, false);
}

Result<TokenBudget::Reservation> TokenBudget::reserve_final(std::int64_t input, std::int64_t output,
                                                            std::int64_t min_output) {
  return take(input, output, min_output, true);
}

Result<TokenBudget::Reservation> TokenBudget::take(std::int64_t input, std::int64_t output,
                                                   std::int64_t min_output, bool final_answer) {
  input = std::max<std::int64_t>(input, 0);
  output = std::max(output, min_output);
  const auto locks = lock_chain();
  const std::int64_t mine =
      final_answer ? final_reserve_ : 0;  // kept for this call, all the way up
  std::int64_t room = std::numeric_limits<std::int64_t>::max();
  const TokenBudget* tightest = this;
  for (const TokenBudget* budget = this; budget != nullptr; budget = budget->parent_.get()) {
    const std::int64_t left = budget->left_locked() + mine;
    if (left < room) tightest = budget;
    room = std::min(room, left);
  }
  const std::int64_t cap = std::min(output, room - input);
  if (cap < min_output) {
    const std::int64_t set_aside = tightest->final_reserve_ + tightest->held_for_children_ - mine;
    return fail(
        ErrorCode::budget_exhausted,
        fmt::format(
            "the call needs {} prompt tokens and at least {} for the reply, but {} of {}{} "
            "are left ({} spent, {} in calls under way{})",
            input, min_output, std::max<std::int64_t>(room, 0), tightest->total_,
            tightest != this ? " in the shared budget" : "", tightest->spent_, tightest->reserved_,
            set_aside > 0 ? fmt::format(", {} set aside for the final answer", set_aside) : ""));
  }
  for (TokenBudget* budget = this; budget != nullptr; budget = budget->parent_.get()) {
    budget->reserved_ += input + cap;
  }
  hold_in_ancestors(-mine);
  final_reserve_ -= mine;
  Reservation reservation;
  reservation.set_aside_ = mine;
  reservation.budget_ = shared_from_this();
  reservation.tokens_ = input + cap;
  reservation.output_cap_ = cap;
  return reservation;
}

// Each lock by itself, this budget's last: in between it still holds what its ancestors have got
// back, so that a call sees too little room, never too much.
void TokenBudget::settle(const Reservation& reservation, std::int64_t used) noexcept {
  const std::int64_t set_aside_again = used == 0 ? reservation.set_aside_ : 0;
  const auto settle_one = [&](TokenBudget& budget, std::int64_t& keeps) {
    const std::scoped_lock lock(budget.mutex_);
    budget.reserved_ -= reservation.tokens_;
    budget.spent_ += used;
    keeps += set_aside_again;
  };
  for (TokenBudget* budget = parent_.get(); budget != nullptr; budget = budget->parent_.get()) {
    settle_one(*budget, budget->held_for_children_);
  }
  settle_one(*this, final_reserve_);
}

void TokenBudget::charge(std::int64_t tokens) {
  settle(Reservation(), tokens);
}

std::int64_t TokenBudget::spent() const {
  const std::scoped_lock lock(mutex_);
  return spent_;
}

std::int64_t TokenBudget::reserved() const {
  const std::scoped_lock lock(mutex_);
  return reserved_;
}

std::int64_t TokenBudget::room(bool final_answer) const {
  const auto locks = lock_chain();
  const std::int64_t mine = final_answer ? final_reserve_ : 0;
  std::int64_t room = std::numeric_limits<std::int64_t>::max();
  for (const TokenBudget* budget = this; budget != nullptr; budget = budget->parent_.get()) {
    room = std::min(room, budget->left_locked() + mine);
  }
  return std::max<std::int64_t>(room, 0);
}

std::int64_t TokenBudget::left() const {
  return room(false);
}

std::int64_t TokenBudget::left_for_final_answer() const {
  return room(true);
}

std::int64_t TokenBudget::overrun() const {
  const std::scoped_lock lock(mutex_);
  return std::max<std::int64_t>(spent_ - total_, 0);
}

}  // namespace moderato
