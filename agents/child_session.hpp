#pragma once

// Private header of the library: not installed.

#include <memory>
#include <string>

#include <moderato/agents/conversation.hpp>
#include <moderato/core/session.hpp>

namespace moderato {

/// A session for work that runs beside its siblings: named "PARENT/NAME", with the bounds, the
/// budget, the observers and the journal of `parent`. Throws std::invalid_argument if its journal
/// cannot be opened as the parent's was.
[[nodiscard]] std::unique_ptr<Session> child_session(Conversation& parent, const std::string& name);

/// Adds what a child that has ended used to its parent's session, and what was said to its
/// transcript.
void join_child_session(Conversation& parent, Session& child);

}  // namespace moderato
