#include <moderato/agents/child_session.hpp>

namespace moderato {

std::unique_ptr<Session> child_session(Conversation& parent, const std::string& name,
                                       Duration began) {
  const SessionOptions& own = parent.session().options();
  const CallContext& bounds = parent.bounds();
  auto child = std::make_unique<Session>(parent.session().runtime(),
                                         SessionOptions{.id = parent.session().id() + "/" + name,
                                                        .tenant = bounds.tenant,
                                                        .priority = own.priority,
                                                        .observer = parent.observers(),
                                                        .stop = bounds.stop,
                                                        .deadline = bounds.deadline,
                                                        .budget = bounds.budget,
                                                        .cache = bounds.cache,
                                                        .journal = own.journal,
                                                        .journal_mode = own.journal_mode,
                                                        .interrupted_tools = own.interrupted_tools,
                                                        .part_of = &parent.session().totals()});
  child->part<BeganInParent>().at = began;
  return child;
}

Duration end_in_parent(Session& child) {
  return child.part<BeganInParent>().at + child.effects().session_time();
}

void join_child_session(Conversation& parent, Session& child) {
  parent.session().effects().advance_to(end_in_parent(child));
  for (const TranscriptEntry& entry : child.transcript()) parent.add_to_transcript(entry);
}

}  // namespace moderato
