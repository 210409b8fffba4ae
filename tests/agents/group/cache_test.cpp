#include <doctest/doctest.h>

#include <moderato/llm/cache/reply_cache.hpp>

#include "group_scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

/// The purposes of the calls that were sent, or answered from a cache.
Lines purposes(const MemoryLedger& ledger, bool cached) {
  Lines names;
  for (const CallRecord& record : ledger.records()) {
    if (record.cached == cached) names.emplace_back(to_string(record.purpose));
  }
  return names;
}

}  // namespace

TEST_CASE("selection-not-cached: the cache of a chat serves participants and speaker selection") {
  const auto ledger = std::make_shared<MemoryLedger>();
  Simulation world({.ledger = ledger});
  const Model chooses = says(world, {"alice", "carol"});
  const GroupChatManager boss(
      {.group_chat = {.agents = {quiet("bob"), speaker(world, "alice"), speaker(world, "carol")},
                      .max_round = 3},
       .name = "boss",
       .model = chooses});
  const auto cache = memory_cache();
  const auto talk = [&] {
    return quiet("bob").initiate_chat(boss, "start", calm({.cache = cache}));
  };
  const ChatResult first = talk();
  const std::size_t sent = ledger->size();
  const ChatResult second = talk();
  CHECK(spoken(second.transcript) == spoken(first.transcript));
  CHECK(first.calls == static_cast<std::int64_t>(sent));
  CHECK(second.calls == 0);
  CHECK(purposes(*ledger, false).size() == sent);
  CHECK(purposes(*ledger, true) == purposes(*ledger, false));
}

TEST_CASE("shared-default-summary-args: a reflection uses the cache of its own chat") {
  Simulation world;
  const AssistantAgent writer(
      {.name = "writer", .model = says(world, {"a1", "s1", "a2", "s2", "a3", "s3"})});
  const auto talk = [&](const std::shared_ptr<ReplyCache>& cache) {
    return quiet_user().initiate_chat(
        writer, "same", {.max_turns = 1, .summary_method = reflection_with_llm(), .cache = cache});
  };
  const auto cache = memory_cache();
  CHECK(talk(nullptr).summary == "s1");
  CHECK(talk(cache).summary == "s2");
  const ChatResult again = talk(cache);
  CHECK(again.summary == "s2");
  CHECK(again.calls == 0);
  CHECK(again.usage.total() == 0);
}

TEST_CASE("a session's cache serves all of its chats") {
  Simulation world;
  Session session(world, {.cache = memory_cache()});
  const AssistantAgent writer({.name = "writer", .model = says(world, {"a1", "a2"})});
  const auto talk = [&] {
    return quiet_user().initiate_chat(writer, "same",
                                      {.max_turns = 1, .session = &session, .clear_history = true});
  };
  CHECK(talk().summary == "a1");
  CHECK(talk().summary == "a1");
}
