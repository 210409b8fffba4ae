#pragma once

// Private header of the library: not installed.

#include <string>

#include <moderato/agents/conversation.hpp>
#include <moderato/core/result.hpp>

namespace moderato {

/// The summary of a chat that has ended, as its options want it. After a failure no model is asked:
/// the error is that of the stop.
[[nodiscard]] Result<std::string> summarize(Conversation& chat, const ConversableAgent& sender,
                                            const ConversableAgent& recipient, const Stop& stop);

}  // namespace moderato
