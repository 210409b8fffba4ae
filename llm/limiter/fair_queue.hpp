#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>

#include <moderato/core/time.hpp>
#include <moderato/core/wait.hpp>
#include <moderato/llm/limiter/ask.hpp>

namespace moderato {

/// Who goes next among the waiting calls of one limiter: start-time fair queueing on two levels,
/// over flows (a tenant's calls of one priority class) by weight, and over the conversations of a
/// flow; within a flow conversations under way go before the first calls of new ones, unless these
/// have waited for `patience`. Entries live on the stacks of the waiters. Every operation is
/// O(log n). Not thread safe.
class FairQueue {
 public:
  /// A first call that has waited this long goes like one of a conversation under way.
  static constexpr Duration patience = std::chrono::seconds(60);

  struct Flow;
  struct Entry {
    Ask ask{};
    Duration cost{1};  ///< Dominant share as time of quota.
    Instant arrived{};
    Instant deadline = no_deadline;
    std::uint64_t conversation = 0;  ///< 0: each call is a conversation of its own.
    bool first_call = false;         ///< Of its conversation.
    bool retry = false;              ///< Goes to the head of its flow.

    // The limiter's own notes.
    std::uint64_t id = 0;         ///< Names its ticket.
    bool has_ticket = false;      ///< The backend may hold a ticket for it.
    Instant not_before{};         ///< What the backend answered last; no use to ask earlier.
    double share = 1.0;           ///< Of its flow's weight; other limiters have the rest.
    bool waits_for_room = false;  ///< The backend could name no instant.
    bool held = false;            ///< The key's state holds it.
    bool granted = false;         ///< It leaves with a permit.
    bool armed = false;           ///< It asks by itself, or sleeps until its own instant.
    WaitPoint turn{"a permit of the limiter"};

   private:
    friend class FairQueue;
    Flow* flow_ = nullptr;
    IdleTimes idle_{};
    std::int64_t rank_ = 0;    // within the flow: virtual start
    bool late_ = false;        // a first call that has not aged yet
    std::uint64_t order_ = 0;  // breaks ties: order of arrival
  };

  /// Puts an entry into the flow `name` with this weight (> 0; the flow keeps the newest).
  void push(Entry& entry, std::string_view name, double weight);
  /// Takes out an entry that is in the queue, wherever it is. `granted`: its flow and its
  /// conversation pay for it.
  void remove(Entry& entry, bool granted);

  /// How long each limit will stand full while this entry waits (see WaitEstimate).
  void note_idle(Entry& entry, const IdleTimes& idle) noexcept;

  /// Who goes next; null: nobody waits. Lets first calls age.
  [[nodiscard]] Entry* front(Instant now);
  /// Who is to have a ticket when the entry, the first of its flow, has gone: the next of its flow,
  /// or of another flow that has none; null: nobody.
  [[nodiscard]] Entry* after(const Entry& entry);
  /// The entry's flow starts so far ahead of the last call that went, as the order between limiters
  /// has it.
  void set_lead(Entry& entry, std::int64_t lead);

  /// What goes before the entry, as far as it can be seen now: all that is ahead of it in its flow,
  /// and of other flows what their weights give them meanwhile.
  [[nodiscard]] QueuedAhead ahead_of(const Entry& entry) const;

  /// What a call has before it that goes last of all.
  [[nodiscard]] const QueuedAhead& all() const noexcept { return sum_; }
  [[nodiscard]] std::size_t size() const noexcept { return sum_.calls; }
  [[nodiscard]] std::size_t size_of_flow(std::string_view name) const;
  /// Calls that wait in the entry's flow.
  [[nodiscard]] std::size_t callers(const Entry& entry) const noexcept;
  [[nodiscard]] std::uint64_t flow_hash(const Entry& entry) const noexcept;
  [[nodiscard]] double weight(const Entry& entry) const noexcept;

  /// f(entry) for every entry, flow by flow.
  template <class F>
  void for_each(F&& f) {
    for (auto& [name, flow] : flows_) {
      for (Entry* entry : flow.entries) f(*entry);
    }
  }
  /// f(entry) for the first entries of the `most` flows that go next. Lets first calls age.
  template <class F>
  void for_each_leading(Instant now, std::size_t most, F&& f) {
    for (auto flow = waiting_.begin(); flow != waiting_.end() && most > 0; ++flow, --most) {
      let_age(**flow, now);
      f(**(*flow)->entries.begin());
    }
  }
  /// f(entry) for the first entry of every flow.
  template <class F>
  void for_each_front(F&& f) {
    for (auto& [name, flow] : flows_) {
      if (!flow.entries.empty()) f(**flow.entries.begin());
    }
  }

 private:
  using Rank = std::tuple<bool, bool, std::int64_t, std::uint64_t>;
  static Rank rank_of(const Entry* entry) noexcept {
    return {!entry->retry, entry->late_, entry->rank_, entry->order_};
  }
  static const Rank& rank_of(const Rank& rank) noexcept { return rank; }
  struct EarlierInFlow {
    using is_transparent = void;
    template <class Left, class Right>
    bool operator()(const Left& left, const Right& right) const noexcept {
      return rank_of(left) < rank_of(right);
    }
  };
  struct EarlierFlow {
    bool operator()(const Flow* left, const Flow* right) const noexcept;
  };

 public:
  struct Flow {
    std::string name{};
    std::uint64_t hash = 0;
    double weight = 1.0;
    std::int64_t start = 0;   // of its first entry, on the queue's virtual time
    std::int64_t finish = 0;  // of its last call that went
    std::int64_t now = 0;     // virtual time within the flow
    std::uint64_t order = 0;  // when it last began to wait
    std::set<Entry*, EarlierInFlow> entries{};
    std::unordered_map<std::uint64_t, std::int64_t> conversations{};  // their finish
    QueuedAhead sum{};
  };

 private:
  void let_age(Flow& flow, Instant now);
  void pay(Entry& entry, Flow& flow);
  void forget_idle_flows();
  static void add(QueuedAhead& sum, const Entry& entry);
  static void subtract(QueuedAhead& sum, const Entry& entry);

  std::map<std::string, Flow, std::less<>> flows_;
  std::set<Flow*, EarlierFlow> waiting_;  // flows with entries
  QueuedAhead sum_;
  std::uint64_t arrivals_ = 0;
  std::int64_t now_ = 0;  // virtual time: the start of the last call that went
};

}  // namespace moderato
