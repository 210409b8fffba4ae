#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <moderato/core/observer.hpp>

namespace moderato {

/// What is shown in place of a text.
using Redact = std::function<std::string(std::string_view text)>;

/// Tells `observer` every event with what `redact` makes of its content: of messages (with the
/// arguments of their calls), tool arguments, progress and results, what people were asked and
/// said, the words of repetitions, errors, warnings and stops. Names, numbers and times stay.
/// Parts and images of a message become its text, its template values are left out. Token deltas
/// are not told: a word may be split between two of them.
///
/// If `redact` throws, "[redacted]" is shown. Put it around everything that leaves the process:
///
///   .observer = redacted(journal->observer(), without_addresses)
///
/// (Effects stay as they are in a journal: a run is resumed from them.)
[[nodiscard]] Observer redacted(Observer observer, Redact redact);

}  // namespace moderato
