#include <moderato/agents/chat_options.hpp>

namespace moderato {

std::shared_ptr<TokenBudget> chat_budget(const ChatOptions& options,
                                         const std::shared_ptr<TokenBudget>& of_session) {
  const std::shared_ptr<TokenBudget>& shared =
      options.shared_budget ? options.shared_budget : of_session;
  if (!options.token_budget) return shared;
  const std::int64_t total = *options.token_budget;
  const bool closing = options.on_budget == OnBudget::final_answer;
  return TokenBudget::make(
      {.total = total,
       .final_answer_reserve = closing ? options.final_answer_reserve.value_or(total / 4) : 0,
       .parent = shared});
}

}  // namespace moderato
