#pragma once

#include <vector>

#include <moderato/agents/transforms/transform.hpp>

#include "comparison.hpp"

namespace moderato::conformance {

/// A transform as the vectors write it, with their tokenizer. Throws std::invalid_argument as ours
/// do.
[[nodiscard]] std::vector<Transform> transforms_from(const Value& list);

/// functions.json's `transform`.
[[nodiscard]] MessageList transformed(const Value& transform, const MessageList& messages);

/// The quirk that a `transform` entry shows; empty: none.
[[nodiscard]] std::string transform_quirk(const Value& transform, const MessageList& messages);

}  // namespace moderato::conformance
