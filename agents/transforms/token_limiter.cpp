#include <moderato/agents/transforms/token_limiter.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

namespace moderato {
namespace {

constexpr std::int64_t unlimited_tokens = std::numeric_limits<std::int64_t>::max();

bool begins_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
}

// Answers travel beside the content of the message that holds them, which repeats their words: they
// are what a model sees, so they are what is counted.
template <class Visit>
void for_each_text(const Message& message, Visit&& visit) {
  if (!message.tool_responses.empty() && message.role == Role::tool) {
    for (const ToolResponse& response : message.tool_responses) visit(response.content);
  } else if (message.content.is_text()) {
    visit(message.content.as_text());
  } else {
    for (const ContentPart& part : message.content.parts()) {
      if (const auto* text = std::get_if<TextPart>(&part)) visit(text->text);
    }
  }
}

class Cutter {
 public:
  explicit Cutter(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  [[nodiscard]] std::int64_t count(const Message& message) const {
    std::int64_t tokens = 0;
    for_each_text(message, [&](std::string_view text) {
      tokens += static_cast<std::int64_t>(tokenizer_(text).size());
    });
    return tokens;
  }

  /// The first `most` tokens, whole characters only.
  [[nodiscard]] std::string cut(std::string_view text, std::int64_t most) const {
    if (most <= 0) return {};
    const std::vector<std::size_t> lengths = tokenizer_(text);
    if (static_cast<std::int64_t>(lengths.size()) <= most) return std::string(text);
    std::size_t end = std::accumulate(lengths.begin(), lengths.begin() + most, std::size_t{0});
    end = std::min(end, text.size());
    while (end > 0 && end < text.size() && !begins_character(text[end])) --end;
    return std::string(text.substr(0, end));
  }

  [[nodiscard]] MessagePtr cut(const MessagePtr& message, std::int64_t most) const {
    Message copy = **message;
    for (ToolResponse& response : copy.tool_responses) {
      response.content = cut(response.content, most);
    }
    if (copy.content.is_text()) {
      copy.content = cut(copy.content.as_text(), most);
    } else if (copy.content.is_parts()) {
      std::vector<ContentPart> parts = copy.content.parts();
      for (ContentPart& part : parts) {
        if (auto* text = std::get_if<TextPart>(&part)) text->text = cut(text->text, most);
      }
      copy.content = std::move(parts);
    }
    return copy == **message ? message : store(std::move(copy));
  }

 private:
  const Tokenizer& tokenizer_;
};

void require(bool holds, const char* otherwise) {
  if (!holds) throw std::invalid_argument(std::string("token_limiter: ") + otherwise);
}

}  // namespace

Tokenizer rough_tokenizer() {
  return [](std::string_view text) {
    std::vector<std::size_t> lengths(text.size() / 4, 4);
    if (text.size() % 4 != 0) lengths.push_back(text.size() % 4);
    return lengths;
  };
}

// AutoGen asks whether a whole `max_tokens_per_message` is left before it looks at a message, also
// where there is no such limit: then its answer is no at the first message, and one message is all
// that a model is shown. Here a message without a limit of its own asks for its real size, and the
// conversation loses whole messages from its beginning.
MessageList limit_tokens(const MessageList& messages, const TokenLimit& limit) {
  const Cutter cutter(limit.tokenizer);
  if (limit.min_tokens > 0) {
    std::int64_t all = 0;
    for (const MessagePtr& message : messages) all += cutter.count(**message);
    if (all < limit.min_tokens) return messages;
  }
  MessageList shown;
  std::int64_t left = limit.max_tokens.value_or(unlimited_tokens);
  for (auto next = messages.rbegin(); next != messages.rend(); ++next) {
    const Message& message = ***next;
    if (message.content.is_null()) {
      shown.push_back(*next);
      continue;
    }
    const std::int64_t size = cutter.count(message);
    if (limit.filter && !limit.filter(message)) {
      shown.push_back(*next);
      left -= size;
      continue;
    }
    const std::int64_t most = limit.max_tokens_per_message.value_or(size);
    if (left < most) {
      if (limit.max_tokens_per_message || shown.empty()) {
        shown.push_back(cutter.cut(*next, left));
      }
      break;
    }
    shown.push_back(cutter.cut(*next, most));
    left -= std::min(size, most);
  }
  std::reverse(shown.begin(), shown.end());
  return shown;
}

Transform token_limiter(TokenLimit limit) {
  require(limit.max_tokens.value_or(0) >= 0, "max_tokens must not be negative");
  require(limit.max_tokens_per_message.value_or(0) >= 0,
          "max_tokens_per_message must not be negative");
  require(limit.min_tokens >= 0, "min_tokens must not be negative");
  require(!limit.max_tokens || *limit.max_tokens >= limit.min_tokens,
          "min_tokens must not be above max_tokens");
  require(limit.tokenizer != nullptr, "a tokenizer is needed");
  const auto text = [](const std::optional<std::int64_t>& tokens) {
    return tokens ? std::to_string(*tokens) : std::string("unlimited");
  };
  return Transform(fmt::format("token_limiter({}, {} a message)", text(limit.max_tokens),
                               text(limit.max_tokens_per_message)),
                   [limit = std::move(limit)](const MessageList& messages, const TransformContext&)
                       -> Result<MessageList> { return limit_tokens(messages, limit); });
}

}  // namespace moderato
