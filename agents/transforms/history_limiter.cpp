#include <moderato/agents/transforms/history_limiter.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>

#include <moderato/agents/transforms/tool_exchange.hpp>

namespace moderato {

// From the newest message backwards, as long as there are places. The last place is not given to a
// tool's answer: its call would have none.
//
// AutoGen removes the *newest* message when the window begins with an answer all the same, and
// fails when nothing is left. Here the answer that lost its call goes, and an answer that is the
// newest message is shown with its call even if there is one place only.
MessageList limit_history(const MessageList& messages, const HistoryLimit& limit) {
  if (messages.size() <= limit.max_messages) return messages;
  std::size_t places = limit.max_messages - (limit.keep_first_message ? 1 : 0);
  MessageList newest;
  for (std::size_t i = messages.size() - 1; i > 0 && places > 0; --i, --places) {
    if (places > 1 || (*messages[i])->role != Role::tool) newest.push_back(messages[i]);
  }
  std::reverse(newest.begin(), newest.end());
  const auto first_whole = std::find_if_not(
      newest.begin(), newest.end(), [](const auto& message) { return answers_calls(**message); });
  newest.erase(newest.begin(), first_whole);

  if (limit.keep_first_message) {
    newest.insert(newest.begin(), messages.front());
  } else if (newest.empty()) {
    const std::size_t begin = exchange_begin(messages, messages.size() - 1);
    newest.assign(messages.begin() + static_cast<std::ptrdiff_t>(begin), messages.end());
  }
  return newest;
}

Transform history_limiter(HistoryLimit limit) {
  if (limit.max_messages == 0) {
    throw std::invalid_argument("history_limiter: max_messages must be at least 1");
  }
  return Transform(fmt::format("history_limiter({}{})", limit.max_messages,
                               limit.keep_first_message ? ", keep_first_message" : ""),
                   [limit](const MessageList& messages, const TransformContext&) {
                     return Result<MessageList>(limit_history(messages, limit));
                   });
}

}  // namespace moderato
