#pragma once

// Private header of the library: not installed.

#include <cstddef>

#include <moderato/core/message.hpp>

namespace moderato {

/// It gives the results of calls that came before it.
[[nodiscard]] bool answers_calls(const Message& message) noexcept;

/// Where the exchange begins that messages[index] belongs to: at its call if it is an answer, else
/// at itself.
[[nodiscard]] std::size_t exchange_begin(const MessageList& messages, std::size_t index) noexcept;

/// Each answer follows its call, and each call but the last message is answered.
[[nodiscard]] bool has_whole_exchanges(const MessageList& messages) noexcept;

/// Without answers that follow no call and without calls (the last message aside) that nothing
/// answers. A person's words that came with answers stay, without them.
[[nodiscard]] MessageList only_whole_exchanges(MessageList messages);

}  // namespace moderato
