#pragma once

#include <span>

#include <moderato/agents/conversable_agent.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/session.hpp>

namespace moderato {

/// A session as JSON, for a store or another process: every party's histories, counters, caps,
/// human inputs and changed system message; of every group what was said in it, who works and who
/// has waited how long; the transcript; and what the session and its budget have spent. Not saved:
/// reply functions registered for the session, and the journal, which is a store of its own.
///
///     Result<Json> saved = save_session(session);                     // one process
///     Session again(runtime, {.id = "case 7", .budget = …});          // another
///     load_session(again, *saved, {user, assistant});
///     user.initiate_chat(assistant, ChatMessage::go_on(), {.session = &again});
///
/// The format is "moderato-session/1". Members that are added later are ignored by older readers; a
/// change that older readers must not miss gets another number. Errors: invalid_request for two
/// agents of one name in a session.
[[nodiscard]] Result<Json> save_session(Session& session);

/// Fills a session in which nothing has been said yet. `agents`: everybody who took part, found by
/// name. The budget of the session, if it has one, is charged with what was spent before, so a cap
/// holds across processes. Nothing is changed if it fails. Errors: storage (not a saved session, a
/// format from the future, a damaged member: it is named), invalid_request (an agent is missing, or
/// is there twice; the session is not fresh).
[[nodiscard]] Result<void> load_session(Session& session, const Json& saved,
                                        std::span<const ConversableAgent> agents);
[[nodiscard]] inline Result<void> load_session(Session& session, const Json& saved,
                                               std::initializer_list<ConversableAgent> agents) {
  return load_session(session, saved, std::span(agents.begin(), agents.size()));
}

}  // namespace moderato
