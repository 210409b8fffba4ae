#include <moderato/agents/chat_result.hpp>

namespace moderato {

CallTotals::Snapshot used_between(const CallTotals::Snapshot& before,
                                  const CallTotals::Snapshot& after) noexcept {
  CallTotals::Snapshot used = after;
  used.calls -= before.calls;
  used.attempts -= before.attempts;
  used.usage.input -= before.usage.input;
  used.usage.output -= before.usage.output;
  used.usage.cached_input -= before.usage.cached_input;
  used.usage.reasoning -= before.usage.reasoning;
  if (used.attempts == 0 && used.usage.total() == 0) used.usage.source = UsageSource::none;
  used.cost -= before.cost;
  used.queue_wait -= before.queue_wait;
  return used;
}

}  // namespace moderato
