#include <moderato/agents/sequence/initiate_chats.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>

#include <moderato/agents/chat.hpp>
#include <moderato/agents/sequence/chat_queue.hpp>

namespace moderato {
namespace {

void require(bool holds, const std::string& otherwise) {
  if (!holds) throw std::invalid_argument("initiate_chats: " + otherwise);
}

std::vector<ReadyChat> ready_chats(const std::vector<QueuedChat>& queue,
                                   const ChatQueueOptions& options, Runtime* runtime) {
  std::vector<ReadyChat> ready;
  for (std::size_t i = 0; i < queue.size(); ++i) {
    const QueuedChat& chat = queue[i];
    const auto& sender = chat.sender ? chat.sender : options.sender;
    require(chat.recipient.has_value(), fmt::format("chat {} has no recipient", i));
    require(sender.has_value(), fmt::format("chat {} has no sender", i));
    for (const std::size_t index : chat.finished_chat_indexes_to_exclude_from_carryover) {
      require(index < queue.size(),
              fmt::format("chat {} excludes chat {} of {}", i, index, queue.size()));
    }
    check_chat(*sender, *chat.recipient, options_of(chat, {}));
    Runtime* own = runtime_of(*sender, *chat.recipient);
    require(own == nullptr || runtime == nullptr || own == runtime,
            fmt::format("the models of chat {} live on another runtime than the queue", i));
    ready.push_back({.queued = &chat,
                     .sender = *sender,
                     .message = chat.message.value_or(ChatMessage::ask_human())});
  }
  return ready;
}

Runtime* runtime_for(const std::vector<QueuedChat>& queue, const ChatQueueOptions& options) {
  if (options.session != nullptr) return &options.session->runtime();
  for (const QueuedChat& chat : queue) {
    const auto& sender = chat.sender ? chat.sender : options.sender;
    if (!sender || !chat.recipient) continue;
    if (Runtime* runtime = runtime_of(*sender, *chat.recipient)) return runtime;
  }
  return Runtime::current();
}

ChatQueueResult run_queue(Session& session, const std::vector<QueuedChat>& queue,
                          const std::vector<ReadyChat>& ready, const ChatQueueOptions& options) {
  const ChatOptions bounds{.token_budget = options.token_budget,
                           .observer = options.observer,
                           .tenant = options.tenant,
                           .deadline = options.deadline,
                           .stop = options.stop};
  Conversation whole(session, bounds);
  const bool is_graph = std::any_of(queue.begin(), queue.end(), [](const QueuedChat& chat) {
    return chat.prerequisites.has_value();
  });
  ChatQueueResult result = is_graph
                               ? run_dependency_graph(whole, DependencyGraph(queue), ready, options)
                               : run_sequence(whole, ready, options.on_chat_end);
  const CallTotals::Snapshot used = whole.used();
  result.calls = used.calls;
  result.attempts = used.attempts;
  result.usage = used.usage;
  result.cost = used.cost;
  return result;
}

}  // namespace

// What earlier chats came to is added to the chat's own carryover; the entry itself stays as it is,
// so a queue can be run again. (AutoGen writes into the caller's entries.)
ChatOptions options_of(const QueuedChat& chat, const std::vector<std::string>& summaries) {
  ChatOptions options = chat.options;
  options.session = nullptr;
  options.clear_history = chat.clear_history;
  std::vector<Carryover::Item> items = options.carryover.items();
  for (const std::string& summary : summaries) items.emplace_back(summary);
  options.carryover = Carryover(std::move(items));
  return options;
}

bool ends_the_queue(const QueuedChat& chat, const Stop& stop) noexcept {
  if (stop.reason == StopReason::cancelled || stop.reason == StopReason::deadline) return true;
  if (stop.reason == StopReason::token_budget) {  // its own, or what all of them share?
    return !chat.options.token_budget && !chat.options.shared_budget &&
           !stop.rule.starts_with("token_budget(");
  }
  return stop.error.has_value();
}

void tell_chat_end(const OnChatEnd& on_chat_end, const QueuedChat& chat, ChatResult& ended) {
  if (!on_chat_end) return;
  const auto told = guarded("on_chat_end", ended.stop.agent, [&] {
    on_chat_end(chat, ended);
    return true;
  });
  if (!told) ended.stop = told.error();
}

ChatQueueResult run_sequence(Conversation& parent, const std::vector<ReadyChat>& chats,
                             const OnChatEnd& on_chat_end) {
  ChatQueueResult result;
  for (const ReadyChat& chat : chats) {
    std::vector<std::string> summaries;
    const auto& excluded = chat.queued->finished_chat_indexes_to_exclude_from_carryover;
    for (std::size_t i = 0; i < result.chats.size(); ++i) {
      if (std::find(excluded.begin(), excluded.end(), i) == excluded.end()) {
        summaries.push_back(result.chats[i].summary);
      }
    }
    result.chats.push_back(run_chat(parent.session(), chat.sender, *chat.queued->recipient,
                                    chat.message, options_of(*chat.queued, summaries), &parent));
    ChatResult& ended = result.chats.back();
    tell_chat_end(on_chat_end, *chat.queued, ended);
    if (ends_the_queue(*chat.queued, ended.stop)) {
      result.stop = ended.stop;
      break;
    }
    if (Stop stop = parent.external_stop(chat.sender.name())) {
      result.stop = std::move(stop);
      break;
    }
  }
  return result;
}

ChatQueueResult initiate_chats(std::vector<QueuedChat> queue, ChatQueueOptions options) {
  require(options.token_budget.value_or(0) >= 0, "token_budget must not be negative");
  require(options.max_in_flight >= 1, "max_in_flight must be at least 1");
  Runtime* runtime = runtime_for(queue, options);
  const std::vector<ReadyChat> ready = ready_chats(queue, options, runtime);
  static_cast<void>(DependencyGraph(queue));  // throws
  if (options.session != nullptr) {
    return runtime->block_on([&] { return run_queue(*options.session, queue, ready, options); });
  }
  std::optional<Runtime> own;
  if (runtime == nullptr) runtime = &own.emplace();
  return runtime->block_on([&] {
    Session session(*runtime, {.tenant = options.tenant});
    return run_queue(session, queue, ready, options);
  });
}

}  // namespace moderato
