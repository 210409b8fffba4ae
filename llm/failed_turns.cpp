#include <moderato/llm/failed_turns.hpp>

#include <algorithm>

// Retries around retries
//
// The library tries a call four times. A program that holds initiate_chat in a loop of its own,
// three times, makes twelve attempts of one turn; a framework around that, thirty-six. Each layer
// believes that it is careful. Nothing in the call says that it is a repetition, but its content
// does: a turn is the same request to the same model, and one that failed within the last minute is
// not asked again by accident. Such a call is a retry, whoever makes it: it earns nothing for the
// retry budget and is paid from it.

namespace moderato {

FailedTurns::Failure* FailedTurns::find(std::uint64_t turn) {
  const auto found = std::find_if(failures_.begin(), failures_.end(),
                                  [&](const Failure& one) { return one.turn == turn; });
  return found == failures_.end() ? nullptr : &*found;
}

void FailedTurns::failed(std::uint64_t turn, Instant now, int attempts) {
  const std::scoped_lock lock(mutex_);
  Failure* known = find(turn);
  if (known == nullptr) {
    known = &failures_[next_++ % capacity];
    *known = {.turn = turn};
    count_.store(std::min(next_, capacity), std::memory_order_relaxed);
  }
  if (now - known->at >= memory) known->attempts = 0;
  known->at = now;
  known->attempts += attempts;
}

void FailedTurns::succeeded(std::uint64_t turn) {
  if (count_.load(std::memory_order_relaxed) == 0) return;
  const std::scoped_lock lock(mutex_);
  if (Failure* known = find(turn)) *known = {};
}

std::optional<FailedTurns::Failure> FailedTurns::lately(std::uint64_t turn, Instant now) const {
  if (count_.load(std::memory_order_relaxed) == 0) return std::nullopt;
  const std::scoped_lock lock(mutex_);
  const Failure* known = const_cast<FailedTurns*>(this)->find(turn);
  if (known == nullptr || known->attempts == 0 || now - known->at >= memory) return std::nullopt;
  return *known;
}

}  // namespace moderato
