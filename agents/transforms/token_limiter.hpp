#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include <moderato/agents/transforms/message_filter.hpp>
#include <moderato/agents/transforms/transform.hpp>

namespace moderato {

/// Cuts a text into tokens: the length of each in bytes, which add up to the text's.
using Tokenizer = std::function<std::vector<std::size_t>(std::string_view text)>;

/// Four bytes a token, which is about what English takes; for exact numbers give the tokenizer of
/// your model.
[[nodiscard]] Tokenizer rough_tokenizer();

struct TokenLimit {
  /// Of all messages together; nullopt: no limit.
  std::optional<std::int64_t> max_tokens{};
  /// Of each message; nullopt: no limit.
  std::optional<std::int64_t> max_tokens_per_message{};
  /// Below so many tokens in all, nothing is changed.
  std::int64_t min_tokens = 0;
  /// Messages that are not to be changed are shown whole, and counted.
  MessageFilter filter{};
  Tokenizer tokenizer = rough_tokenizer();
};

/// Shortens messages, and leaves out the oldest (AutoGen's MessageTokenLimiter). Going back from
/// the newest: each is cut to `max_tokens_per_message`; the first for which not so much is left of
/// `max_tokens` is cut to what is left, and all older ones are left out. Without a limit for each
/// message they are shown whole as long as they fit; only the newest is ever cut then. Each part of
/// a message with parts is cut by itself, and so are the answers of a message that answers several
/// tool calls; images and null contents are not counted.
///
/// Throws std::invalid_argument: a negative number, no tokenizer, or max_tokens < min_tokens.
[[nodiscard]] Transform token_limiter(TokenLimit limit);

/// The same as a pure function.
[[nodiscard]] MessageList limit_tokens(const MessageList& messages, const TokenLimit& limit);

}  // namespace moderato
