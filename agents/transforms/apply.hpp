#pragma once

// Private header of the library: not installed.

#include <functional>
#include <vector>

#include <moderato/agents/transforms/transform.hpp>
#include <moderato/core/event.hpp>

namespace moderato {

/// All transforms in order on `messages` (not empty), a leading system message aside. `trimmed` is
/// told about each that left something out. What a transform throws passes through. Error internal:
/// one gave an empty list or a null message.
[[nodiscard]] Result<MessageList> apply_transforms(
    const std::vector<Transform>& transforms, MessageList messages, const TransformContext& context,
    const std::function<void(ContextTrimmed)>& trimmed);

/// What was left out on the way from `before` to `after`; nullopt: nothing.
[[nodiscard]] std::optional<ContextTrimmed> trimmed_between(const MessageList& before,
                                                            const MessageList& after);

}  // namespace moderato
