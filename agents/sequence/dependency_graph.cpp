// Chats that wait for each other. A chat begins when all that it waits for have ended; those that
// are ready run on fibers of their own, a bounded number at a time.
//
// Why each has a session of its own: fibers that share one would take turns in an order that
// depends on how long calls take, so their effects would be numbered differently in a replay, which
// takes no time at all. With a session each, every recording is that of one chat, and the order
// among them does not matter. The results, the transcript and the totals are put together in the
// order of the queue.
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <stdexcept>

#include <moderato/agents/chat.hpp>
#include <moderato/agents/child_session.hpp>
#include <moderato/agents/sequence/chat_queue.hpp>
#include <moderato/agents/team_turn.hpp>
#include <moderato/core/wait.hpp>

namespace moderato {
namespace {

// One run of the graph. All fibers are on one loop, so nothing here is locked.
class GraphOfChats {
 public:
  GraphOfChats(Conversation& parent, const DependencyGraph& graph,
               const std::vector<ReadyChat>& chats, const ChatQueueOptions& options)
      : parent_(parent),
        graph_(graph),
        chats_(chats),
        options_(options),
        run_(next_team_run(parent.session(), "initiate_chats")),
        began_(parent.session().effects().session_time()),
        states_(chats.size()) {}

  ChatQueueResult run() {
    ChatQueueResult result;
    std::vector<Task<void>> running;
    for (;;) {
      while (!stop_ && in_flight_ < options_.max_in_flight) {
        const std::size_t next = ready_chat();
        if (next == chats_.size()) break;
        states_[next].begun = true;
        ++in_flight_;
        running.push_back(parent_.session().runtime().spawn([this, next] { run_one(next); },
                                                            {.name = graph_.ids[next]}));
      }
      if (in_flight_ == 0) break;
      progress_.wait_for_notification();
    }
    for (Task<void>& task : running) task.join();
    for (State& state : states_) {
      if (state.session) join_child_session(parent_, *state.session);
      result.chats.push_back(std::move(state.result));
    }
    result.stop = std::move(stop_);
    return result;
  }

 private:
  struct State {
    bool begun = false;
    bool ended = false;
    std::unique_ptr<Session> session{};
    ChatResult result{};
  };

  std::size_t ready_chat() const {
    for (std::size_t i = 0; i < chats_.size(); ++i) {
      const auto& waits_for = graph_.waits_for[i];
      const bool ready = std::all_of(waits_for.begin(), waits_for.end(),
                                     [&](std::size_t other) { return states_[other].ended; });
      if (!states_[i].begun && ready) return i;
    }
    return chats_.size();
  }

  void run_one(std::size_t index) {
    State& state = states_[index];
    const ReadyChat& chat = chats_[index];
    const auto& excluded = chat.queued->finished_chat_indexes_to_exclude_from_carryover;
    std::vector<std::string> summaries;
    Duration began = began_;
    for (const std::size_t other : graph_.waits_for[index]) {
      if (states_[other].session) began = std::max(began, end_in_parent(*states_[other].session));
      if (std::find(excluded.begin(), excluded.end(), other) == excluded.end()) {
        summaries.push_back(states_[other].result.summary);
      }
    }
    const std::string& id = graph_.ids[index];  // another queue of the session may have it, too
    const std::string name = run_ == 1 ? id : fmt::format("{}/{}", run_, id);
    auto session = guarded("the session", id, [&] { return child_session(parent_, name, began); });
    if (session) {
      state.session = std::move(*session);
      state.result = run_chat(*state.session, chat.sender, *chat.queued->recipient, chat.message,
                              options_of(*chat.queued, summaries), &parent_);
    } else {
      state.result.stop = std::move(session).error();
    }
    state.ended = true;
    tell_chat_end(options_.on_chat_end, *chat.queued, state.result);
    if (ends_the_queue(*chat.queued, state.result.stop) && !stop_) stop_ = state.result.stop;
    --in_flight_;
    progress_.notify();
  }

  Conversation& parent_;
  const DependencyGraph& graph_;
  const std::vector<ReadyChat>& chats_;
  const ChatQueueOptions& options_;
  const int run_;  // of the session's queues
  const Duration began_;
  std::vector<State> states_;
  std::size_t in_flight_ = 0;
  Stop stop_{};
  WaitPoint progress_{"a chat of a dependency graph to end"};
};

}  // namespace

DependencyGraph::DependencyGraph(const std::vector<QueuedChat>& queue) : waits_for(queue.size()) {
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < queue.size(); ++i) {
    ids.push_back(queue[i].chat_id.empty() ? std::to_string(i) : queue[i].chat_id);
    if (!index.emplace(ids.back(), i).second) {
      throw std::invalid_argument(
          fmt::format("initiate_chats: two chats have the id \"{}\"", ids.back()));
    }
  }
  for (std::size_t i = 0; i < queue.size(); ++i) {
    for (const std::string& id : queue[i].prerequisites.value_or(std::vector<std::string>{})) {
      const auto found = index.find(id);
      if (found == index.end()) {
        throw std::invalid_argument(fmt::format(
            "initiate_chats: chat \"{}\" waits for \"{}\", which is not in the queue", ids[i], id));
      }
      waits_for[i].push_back(found->second);
    }
  }
  std::vector<bool> done(queue.size());
  for (std::size_t settled = 0, before = 1; settled != before;) {
    before = settled;
    for (std::size_t i = 0; i < queue.size(); ++i) {
      const auto& others = waits_for[i];
      if (done[i] ||
          !std::all_of(others.begin(), others.end(), [&](std::size_t o) { return done[o]; })) {
        continue;
      }
      done[i] = true;
      ++settled;
    }
  }
  std::string waiting;
  for (std::size_t i = 0; i < queue.size(); ++i) {
    if (!done[i]) waiting += (waiting.empty() ? "\"" : ", \"") + ids[i] + "\"";
  }
  if (!waiting.empty()) {
    throw std::invalid_argument("initiate_chats: these chats wait for each other: " + waiting);
  }
}

ChatQueueResult run_dependency_graph(Conversation& parent, const DependencyGraph& graph,
                                     const std::vector<ReadyChat>& chats,
                                     const ChatQueueOptions& options) {
  return GraphOfChats(parent, graph, chats, options).run();
}

}  // namespace moderato
