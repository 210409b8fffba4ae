#pragma once

// Private header of the library: not installed.

#include <memory>
#include <string>

#include <moderato/agents/conversation.hpp>
#include <moderato/core/session.hpp>
#include <moderato/core/time.hpp>

namespace moderato {

/// When a child session began, in the session time of its parent.
struct BeganInParent {
  Duration at{};
};

/// A session for work that runs beside its siblings: named "PARENT/NAME", with the bounds, the
/// budget, the observers and the journal of `parent`. What it uses counts there, too, at once.
/// `began`: see BeganInParent; the same in a replay. Throws std::invalid_argument if its journal
/// cannot be opened as the parent's was.
[[nodiscard]] std::unique_ptr<Session> child_session(Conversation& parent, const std::string& name,
                                                     Duration began);
/// When it ended, in the session time of its parent.
[[nodiscard]] Duration end_in_parent(Session& child);

/// Adds what was said in a child that has ended to its parent's transcript, and the time that it
/// took to its parent's time.
void join_child_session(Conversation& parent, Session& child);

}  // namespace moderato
