// A saved session, whatever is in it, is an error or a session that can be saved again, and again
// the same.

#include <cstdlib>
#include <moderato/agents/assistant_agent.hpp>
#include <moderato/agents/session_json.hpp>
#include <moderato/agents/user_proxy_agent.hpp>
#include <moderato/core/simulation.hpp>

using namespace moderato;

namespace {

std::string saved(Session& session) {
  const auto json = save_session(session);
  if (!json) std::abort();
  return dump_json(*json);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Simulation world({.keep_event_log = false});
  static const std::vector<ConversableAgent> agents{
      AssistantAgent({.name = "writer"}),
      UserProxyAgent({.name = "user", .human_input_mode = HumanInputMode::never})};
  const auto json = parse_json({reinterpret_cast<const char*>(data), size});
  if (!json) return 0;
  const auto load = [&](const Json& from, Session& into) {
    return load_session(into, from, agents).has_value();
  };
  Session first(world, {.id = "s", .budget = TokenBudget::make(1000)});
  if (!load(*json, first)) return 0;
  const std::string once = saved(first);
  Session second(world, {.id = "s", .budget = TokenBudget::make(1000)});
  if (!load(Json::parse(once), second) || saved(second) != once) std::abort();
  return 0;
}
