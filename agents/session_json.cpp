#include <moderato/agents/session_json.hpp>

#include <fmt/core.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include <moderato/agents/group/group_state.hpp>
#include <moderato/agents/party_state.hpp>
#include <moderato/agents/team_turn.hpp>

// Messages are shared between histories and transcript, and stay so: they are written once, and
// everything else names them by their place in that list.

namespace moderato {
namespace {

constexpr std::string_view format_family = "moderato-session/";
constexpr std::string_view format_name = "moderato-session/1";

class Pool {
 public:
  std::size_t place_of(const MessagePtr& message) {
    const auto [found, is_new] = places_.try_emplace(message.get(), messages_.size());
    // What is no UTF-8 could not be written: it becomes what a provider would have been sent.
    if (is_new) messages_.push_back(*parse_json(dump_json(to_json(**message))));
    return found->second;
  }
  Json places_of(const MessageList& list) {
    Json places = Json::array();
    for (const MessagePtr& message : list) places.push_back(place_of(message));
    return places;
  }
  [[nodiscard]] Json messages() && { return std::move(messages_); }

 private:
  std::unordered_map<const StoredMessage*, std::size_t> places_;
  Json messages_ = Json::array();
};

Json saved_dialogue(const Dialogue& dialogue, Pool& pool) {
  Json json = Json::object();
  if (dialogue.peer) json["peer"] = dialogue.peer->name();
  json["met"] = dialogue.met;
  json["reply_at_receive"] = dialogue.reply_at_receive;
  json["auto_replies"] = dialogue.auto_replies;
  if (dialogue.cap) json["cap"] = *dialogue.cap;
  json["history"] = pool.places_of(dialogue.history);
  return json;
}

Json saved_party(const PartyState& party, Pool& pool) {
  Json json{{"agent", party.agent.name()},
            {"system_message", (*party.system)->text()},
            {"cap", party.cap},
            {"human_inputs", party.human_inputs},
            {"dialogues", Json::array()}};
  for (const auto& dialogue : party.dialogues) {
    json["dialogues"].push_back(saved_dialogue(*dialogue, pool));
  }
  return json;
}

Json saved_groups(Session& session, Pool& pool) {
  Json groups = Json::array();
  for (const auto& [manager, state] : session.part<Groups>().by_name()) {
    groups.push_back({{"manager", manager},
                      {"messages", pool.places_of(state->messages)},
                      {"resumed", state->resumed},
                      {"waiting", state->waiting},
                      {"choice_refused", state->choice_refused},
                      {"active", state->active}});
  }
  return groups;
}

Json saved_totals(const CallTotals::Snapshot& totals) {
  return {{"calls", totals.calls},
          {"attempts", totals.attempts},
          {"input", totals.usage.input},
          {"output", totals.usage.output},
          {"cached_input", totals.usage.cached_input},
          {"reasoning", totals.usage.reasoning},
          {"source", static_cast<int>(totals.usage.source)},
          {"cost", totals.cost},
          {"queue_wait_ns", totals.queue_wait.count()}};
}

// Thrown while a saved session is read, and caught where reading began.
struct Damaged {
  std::string why;
};

const Json& member(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (!json.is_object() || found == json.end()) {
    throw Damaged{fmt::format("\"{}\" is missing", name)};
  }
  return *found;
}

template <class T>
T read(const Json& json, const char* name) {
  try {
    return member(json, name).get<T>();
  } catch (const Json::exception&) {
    throw Damaged{fmt::format("\"{}\" is of a wrong type", name)};
  }
}

/// Numbers that can be added without overflow; anything else would be somebody's mistake.
constexpr std::int64_t most = std::int64_t{1} << 53;
constexpr std::int64_t far = std::int64_t{1} << 60;  // nanoseconds

std::int64_t number(const Json& json, const char* name, std::int64_t least, std::int64_t greatest) {
  try {
    const std::int64_t found = whole_number(member(json, name));
    if (found >= least && found <= greatest) return found;
  } catch (const Json::exception&) {  // said below
  }
  throw Damaged{fmt::format("\"{}\" is no number from {} to {}", name, least, greatest)};
}
std::int64_t count(const Json& json, const char* name) {
  return number(json, name, 0, most);
}

/// {"name": count, …}
template <class Map>
Map counts(const Json& json, const char* name) {
  const Json& found = member(json, name);
  if (!found.is_object()) throw Damaged{fmt::format("\"{}\" is no object", name)};
  Map map;
  for (const auto& item : found.items()) {
    using Count = typename Map::mapped_type;
    map[item.key()] = static_cast<Count>(number(found, item.key().c_str(), 0, INT32_MAX));
  }
  return map;
}

const Json& list(const Json& json, const char* name) {
  const Json& found = member(json, name);
  if (!found.is_array()) throw Damaged{fmt::format("\"{}\" is no list", name)};
  return found;
}

class Loader {
 public:
  Loader(const Json& saved, std::span<const ConversableAgent> agents) : saved_(saved) {
    for (const ConversableAgent& agent : agents) {
      const auto [found, is_new] = agents_.try_emplace(agent.name(), &agent);
      if (!is_new && *found->second != agent) {
        throw Error{.code = ErrorCode::invalid_request,
                    .message = fmt::format("two agents are called {}", agent.name())};
      }
    }
  }

  // Everything is read before anything is changed.
  void read_all() {
    const auto format = read<std::string>(saved_, "format");
    if (!format.starts_with(format_family)) throw Damaged{"it is no saved session"};
    if (format != format_name) {
      throw Damaged{fmt::format("its format is {}, this version reads {}", format, format_name)};
    }
    for (const Json& message : list(saved_, "messages")) {
      auto parsed = message_from_json(message);
      if (!parsed) {
        throw Damaged{fmt::format("message {}: {}", messages_.size(), parsed.error().message)};
      }
      messages_.push_back(store(std::move(*parsed)));
    }
    for (const Json& party : list(saved_, "parties")) parties_.push_back(read_party(party));
    for (const Json& entry : list(saved_, "transcript")) transcript_.push_back(read_entry(entry));
    // Not in what the first version saved.
    if (saved_.contains("groups")) {
      for (const Json& group : list(saved_, "groups")) read_group(group);
    }
    if (saved_.contains("team_runs")) team_runs_ = counts<TeamNumbers>(saved_, "team_runs");
    totals_ = read_totals(member(saved_, "totals"));
    budget_spent_ = saved_.contains("budget") ? count(saved_["budget"], "spent") : 0;
  }

  void fill(Session& session) {
    auto& parties = session.part<Parties>();
    for (PartyState& party : parties_) {
      PartyState& state = parties[party.agent];
      party.replies = std::move(state.replies);
      state = std::move(party);
    }
    auto& groups = session.part<Groups>();
    for (auto& [manager, state] : groups_) groups[manager] = std::move(state);
    session.part<TeamRuns>().runs = std::move(team_runs_);
    session.transcript() = std::move(transcript_);
    session.totals().add(totals_);
    if (session.options().budget) session.options().budget->charge(budget_spent_);
  }

 private:
  using TeamNumbers = decltype(TeamRuns::runs);

  const ConversableAgent& agent(const std::string& name) const {
    const auto found = agents_.find(name);
    if (found != agents_.end()) return *found->second;
    throw Error{.code = ErrorCode::invalid_request,
                .message = fmt::format("the saved session needs the agent {}", name)};
  }

  const MessagePtr& message(const Json& place) const {
    if (!place.is_number_unsigned() || place.get<std::uint64_t>() >= messages_.size()) {
      throw Damaged{fmt::format("there is no message {}", dump_json(place))};
    }
    return messages_[place.get<std::size_t>()];
  }

  PartyState read_party(const Json& json) const {
    PartyState party(agent(read<std::string>(json, "agent")));
    const auto system = read<std::string>(json, "system_message");
    if (system != (*party.system)->text()) party.system = store(Message::system(system));
    party.cap = number(json, "cap", -most, most);
    party.human_inputs = read<std::vector<std::string>>(json, "human_inputs");
    for (const Json& saved : list(json, "dialogues")) {
      auto dialogue = std::make_unique<Dialogue>();
      if (saved.contains("peer")) dialogue->peer = agent(read<std::string>(saved, "peer"));
      dialogue->met = read<bool>(saved, "met");
      dialogue->reply_at_receive = read<bool>(saved, "reply_at_receive");
      dialogue->auto_replies = count(saved, "auto_replies");
      if (saved.contains("cap")) dialogue->cap = number(saved, "cap", -most, most);
      for (const Json& place : list(saved, "history")) {
        dialogue->history.push_back(message(place));
      }
      party.dialogues.push_back(std::move(dialogue));
    }
    return party;
  }

  void read_group(const Json& json) {
    GroupState state;
    for (const Json& place : list(json, "messages")) state.messages.push_back(message(place));
    state.resumed = read<bool>(json, "resumed");
    state.waiting = counts<std::map<std::string, std::int64_t>>(json, "waiting");
    state.choice_refused = read<bool>(json, "choice_refused");
    state.active = read<std::string>(json, "active");
    groups_.emplace_back(agent(read<std::string>(json, "manager")), std::move(state));
  }

  TranscriptEntry read_entry(const Json& json) const {
    const auto kind = message_kind_from_string(read<std::string>(json, "kind"));
    return {.speaker = read<std::string>(json, "speaker"),
            .recipient = read<std::string>(json, "recipient"),
            .kind = kind.value_or(MessageKind::reply),  // a kind from the future
            .message = message(member(json, "message")),
            .at = Instant{Duration{number(json, "at_ns", -far, far)}}};
  }

  static CallTotals::Snapshot read_totals(const Json& json) {
    CallTotals::Snapshot totals{.calls = count(json, "calls"), .attempts = count(json, "attempts")};
    totals.usage = {.input = count(json, "input"),
                    .output = count(json, "output"),
                    .cached_input = count(json, "cached_input"),
                    .reasoning = count(json, "reasoning"),
                    .source = static_cast<UsageSource>(number(json, "source", 0, 3))};
    totals.cost = read<double>(json, "cost");
    totals.queue_wait = Duration{number(json, "queue_wait_ns", 0, far)};
    return totals;
  }

  const Json& saved_;
  std::map<std::string, const ConversableAgent*, std::less<>> agents_;
  MessageList messages_;
  std::vector<PartyState> parties_;
  std::vector<std::pair<ConversableAgent, GroupState>> groups_;
  TeamNumbers team_runs_;
  Transcript transcript_;
  CallTotals::Snapshot totals_;
  std::int64_t budget_spent_ = 0;
};

}  // namespace

Result<Json> save_session(Session& session) {
  Pool pool;
  Json parties = Json::array();
  std::set<std::string> names;
  for (const PartyState* party : session.part<Parties>().by_name()) {
    if (!names.insert(party->agent.name()).second) {
      return fail(ErrorCode::invalid_request,
                  fmt::format("two agents of the session are called {}: it cannot be saved",
                              party->agent.name()));
    }
    parties.push_back(saved_party(*party, pool));
  }
  Json transcript = Json::array();
  for (const TranscriptEntry& entry : session.transcript()) {
    transcript.push_back({{"speaker", entry.speaker},
                          {"recipient", entry.recipient},
                          {"kind", to_string(entry.kind)},
                          {"message", pool.place_of(entry.message)},
                          {"at_ns", entry.at.time_since_epoch().count()}});
  }
  Json groups = saved_groups(session, pool);
  const auto& runs = session.part<TeamRuns>().runs;
  Json saved{{"format", format_name},
             {"id", session.id()},
             {"messages", std::move(pool).messages()},
             {"parties", std::move(parties)},
             {"groups", std::move(groups)},
             {"team_runs", std::map(runs.begin(), runs.end())},
             {"transcript", std::move(transcript)},
             {"totals", saved_totals(session.totals().snapshot())}};
  if (const auto& budget = session.options().budget) {
    saved["budget"] = {{"total", budget->total()}, {"spent", budget->spent()}};
  }
  return saved;
}

Result<void> load_session(Session& session, const Json& saved,
                          std::span<const ConversableAgent> agents) {
  if (!session.transcript().empty() || session.totals().snapshot().calls != 0) {
    return fail(ErrorCode::invalid_request, "a session is loaded before anything is said in it");
  }
  try {
    Loader loader(saved, agents);
    loader.read_all();
    loader.fill(session);
    return {};
  } catch (const Damaged& damaged) {
    return fail(ErrorCode::storage, "the session cannot be loaded: " + damaged.why);
  } catch (const Error& error) {
    return fail(error);
  }
}

}  // namespace moderato
