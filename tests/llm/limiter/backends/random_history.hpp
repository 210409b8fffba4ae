#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <moderato/llm/limiter/limiter.hpp>

namespace moderato::test {

/// The ends of several limiters that share one key.
using Fleet = std::vector<std::shared_ptr<LimiterBackend>>;
using MakeFleet = std::function<Fleet(const QuotaOptions&, std::size_t)>;

/// A random load on a fleet, as limiters would bring it, in virtual time, and what every backend
/// must keep: see `run`. The same seed gives the same load on each backend.
class RandomHistory {
 public:
  explicit RandomHistory(std::uint64_t seed) : random_(seed) {
    options_.requests_per_minute = pick(60, 3000);
    if (chance(0.7)) options_.tokens_per_minute = pick(10'000, 300'000);
    if (chance(0.6)) options_.max_in_flight = pick(1, 8);
    options_.request_burst = std::chrono::milliseconds(pick(0, 5000));
    options_.token_burst = std::chrono::milliseconds(pick(500, 8000));
    members_ = static_cast<std::size_t>(pick(1, 4));
    const std::int64_t calls = pick(50, 200);
    Instant at{std::chrono::hours(1)};
    for (std::int64_t i = 0; i < calls; ++i) {
      at += std::chrono::milliseconds(pick(0, chance(0.1) ? 5000 : 50));
      calls_.push_back(random_call(at));
    }
  }

  /// Runs it. Empty, or what is wrong:
  ///   - in some interval more was charged, less what was given back, than its quota and the burst
  ///   - more calls in flight than slots
  ///   - a call that waits never goes
  ///   - afterwards something is left: calls in flight, tickets
  std::string run(const MakeFleet& make) {
    fleet_ = make(options_, members_);
    queues_.resize(members_);
    for (std::size_t i = 0; i < members_; ++i) {
      listening_.push_back(fleet_[i]->on_room([this, i] { room(i); }));
    }
    std::size_t arrived = 0;
    const Instant end = calls_.back().arrives + std::chrono::hours(2);
    while (error_.empty() && ended_ < calls_.size()) {
      const Instant next = next_event(arrived);
      now_ = std::max(now_, next);
      if (now_ > end + leapt_) return "a call that waits never goes; " + where();
      if (++events_ > 400 * calls_.size()) return "too many questions to the backend; " + where();
      if (arrived < calls_.size() && calls_[arrived].arrives + leapt_ <= now_) {
        arrive(arrived++);
        continue;
      }
      settle_due();
      cancel_due();
      ask_due();
      if (pick(0, 500) == 0) leap(std::chrono::seconds(pick(1, 3600)));
    }
    if (error_.empty()) check_intervals();
    if (error_.empty()) check_rest();
    return error_.empty() ? "" : error_ + "; " + where();
  }

  /// Questions and settles for each call that went.
  [[nodiscard]] double questions_per_grant() const {
    return static_cast<double>(questions_) /
           static_cast<double>(std::max<std::size_t>(1, grants_.size()));
  }

 private:
  struct Call {
    Instant arrives{};
    std::size_t member = 0;
    std::uint64_t flow = 0;
    Ask ask{};
    Duration takes{};
    Duration gives_up_after{};  // 0: never
    Outcome outcome{};
    std::uint64_t id = 0;
    Instant not_before{};
    bool asked = false;  // has a ticket
    bool waits_for_room = false;
  };
  struct Charge {  // or what was given back of one: negative
    Instant at{};
    Ask ask{};
  };
  using Queue = std::map<std::uint64_t, std::deque<std::size_t>>;  // by flow: indices of calls_
  struct Running {
    std::size_t call = 0;
    Granted grant{};
  };

  std::int64_t pick(std::int64_t from, std::int64_t to) {
    return std::uniform_int_distribution<std::int64_t>(from, to)(random_);
  }
  bool chance(double probability) { return std::bernoulli_distribution(probability)(random_); }

  Call random_call(Instant at) {
    Call call{.arrives = at,
              .member = static_cast<std::size_t>(pick(0, 3)) % members_,
              .flow = static_cast<std::uint64_t>(pick(1, 3)),
              .takes = std::chrono::milliseconds(pick(1, 4000))};
    call.ask.input_tokens = pick(1, 1000);
    call.ask.output_tokens = pick(0, 1000);
    if (chance(0.05)) call.ask.input_tokens = 9000;  // more than the burst, often
    if (chance(0.05)) call.gives_up_after = std::chrono::milliseconds(pick(1, 20'000));
    const auto what = pick(0, 99);
    if (what < 70) {
      call.outcome = {.kind = Outcome::Kind::succeeded,
                      .input_tokens = call.ask.input_tokens,
                      .output_tokens = pick(0, call.ask.output_tokens)};
    } else if (what < 80) {
      call.outcome = {.kind = Outcome::Kind::not_sent};
    } else if (what < 90) {
      call.outcome = {.kind = Outcome::Kind::unknown};
    } else if (what < 97) {
      call.outcome = {.kind = Outcome::Kind::failed, .error = ErrorCode::server_error};
    } else {
      call.outcome = {.kind = Outcome::Kind::rejected, .error = ErrorCode::rate_limited};
      call.outcome.signal.retry_after = std::chrono::milliseconds(pick(10, 3000));
    }
    call.id = ++ids_;
    return call;
  }

  /// What a careless clock says: steps backwards are no steps.
  Instant told_time() {
    const Instant told = chance(0.05) ? now_ - std::chrono::milliseconds(pick(1, 60'000)) : now_;
    latest_told_ = std::max(latest_told_, told);
    return told;
  }

  Instant next_event(std::size_t arrived) const {
    Instant next = Instant::max();
    if (arrived < calls_.size()) next = calls_[arrived].arrives + leapt_;
    if (!running_.empty()) next = std::min(next, running_.begin()->first);
    if (!giving_up_.empty()) next = std::min(next, giving_up_.begin()->first);
    for (const auto& queue : queues_) {
      for (const auto& [flow, waiting] : queue) {
        if (!waiting.empty()) next = std::min(next, calls_[waiting.front()].not_before);
      }
    }
    return next;
  }

  void arrive(std::size_t index) {
    Call& call = calls_[index];
    queues_[call.member][call.flow].push_back(index);
    if (call.gives_up_after > Duration::zero()) {
      giving_up_.emplace(now_ + call.gives_up_after, index);
    }
    ask_due();
  }

  void room(std::size_t member) {
    for (auto& [flow, waiting] : queues_[member]) {
      if (!waiting.empty() && calls_[waiting.front()].waits_for_room) {
        calls_[waiting.front()].not_before = now_;
      }
    }
  }

  void settle_due() {
    while (!running_.empty() && running_.begin()->first <= now_) {
      const Running running = running_.begin()->second;
      running_.erase(running_.begin());
      const Call& call = calls_[running.call];
      ++questions_;
      fleet_[call.member]->settle(told_time(), running.grant, call.ask, call.outcome);
      Ask back = call.ask;
      charges_.push_back({latest_told_, Ask{.requests = 0} -= back -= charged(call)});
      ++ended_;
      room(call.member);
    }
  }

  /// What the call costs in the end: its charge from the start, and never more.
  static Ask charged(const Call& call) {
    switch (call.outcome.kind) {
      case Outcome::Kind::succeeded:
        return {1, call.outcome.input_tokens, call.outcome.output_tokens};
      case Outcome::Kind::failed:
        return {.requests = 1};
      case Outcome::Kind::rejected:
      case Outcome::Kind::not_sent:
        return {.requests = 0};
      default:
        return call.ask;
    }
  }

  void cancel_due() {
    while (!giving_up_.empty() && giving_up_.begin()->first <= now_) {
      const std::size_t index = giving_up_.begin()->second;
      giving_up_.erase(giving_up_.begin());
      Call& call = calls_[index];
      auto& waiting = queues_[call.member][call.flow];
      const auto place = std::find(waiting.begin(), waiting.end(), index);
      if (place == waiting.end()) continue;
      waiting.erase(place);
      if (call.asked) fleet_[call.member]->withdraw(told_time(), call.id);
      ++ended_;
    }
  }

  void ask_due() {
    for (std::size_t member = 0; member < members_; ++member) {
      for (auto& [flow, waiting] : queues_[member]) {
        while (!waiting.empty() && calls_[waiting.front()].not_before <= now_ && ask(waiting)) {
        }
      }
    }
  }

  static Ticket ticket(const Call& call, std::size_t callers) {
    return {.id = call.id, .flow = call.flow, .callers = static_cast<std::uint32_t>(callers)};
  }

  /// Asks for the first of a queue; true if it has left.
  bool ask(std::deque<std::size_t>& waiting) {
    Call& call = calls_[waiting.front()];
    NextInLine next;
    Call* follower = waiting.size() > 1 ? &calls_[waiting[1]] : nullptr;
    if (follower != nullptr) {
      next = {.ask = follower->ask, .ticket = ticket(*follower, waiting.size() - 1)};
    }
    ++questions_;
    call.asked = true;
    auto admission = fleet_[call.member]->try_acquire(
        told_time(), call.ask, ticket(call, waiting.size()), follower != nullptr ? &next : nullptr);
    if (const auto* wait = std::get_if<MustWait>(&admission)) {
      call.waits_for_room = wait->until == Instant::max();
      call.not_before = call.waits_for_room ? now_ + std::chrono::seconds(1) : wait->until;
      // A careless clock's "now" may be its answer: the limiter's own clock has moved on.
      call.not_before = std::max(call.not_before, now_ + std::chrono::microseconds(1));
      return false;
    }
    if (const auto* refused = std::get_if<Refused>(&admission)) {
      if (refused->error.code != ErrorCode::too_large) error_ = refused->error.message;
      ++ended_;
    } else {
      granted(waiting.front(), std::get<Granted>(admission));
      if (follower != nullptr && std::get<Granted>(admission).next.until != Instant{}) {
        follower->asked = true;
        follower->not_before = std::get<Granted>(admission).next.until;
        follower->waits_for_room = options_.max_in_flight > 0;
        if (follower->waits_for_room) {
          follower->not_before = std::min(follower->not_before, now_ + std::chrono::seconds(1));
        }
      }
    }
    waiting.pop_front();
    return true;
  }

  void granted(std::size_t index, const Granted& grant) {
    const Call& call = calls_[index];
    if (!grants_.insert(grant.id).second) error_ = "two grants have one name";
    // It may have been granted ahead of time: the provider sees it when it leaves.
    const Instant leaves = std::max(latest_told_, grant.start);
    running_.emplace(std::max(now_, leaves) + call.takes, Running{index, grant});
    charges_.push_back({leaves, call.ask});
    if (options_.max_in_flight > 0 &&
        running_.size() > static_cast<std::size_t>(options_.max_in_flight)) {
      error_ = "more calls in flight than slots";
    }
  }

  /// Everything stands still for so long, as when a host is suspended.
  void leap(Duration by) {
    now_ += by;
    leapt_ += by;
  }

  template <class Amount>
  void check_dimension(const char* name, std::int64_t limit, Duration burst, Amount amount) {
    if (limit == 0 || !error_.empty()) return;
    const double rate = static_cast<double>(limit) * options_.safety / 60.0;
    double largest = 1;
    for (const auto& charge : charges_) largest = std::max(largest, amount(charge.ask));
    const double room = std::max(rate * seconds(burst), largest) + 1;
    for (std::size_t from = 0; from < charges_.size(); ++from) {
      double sum = 0;
      for (std::size_t to = from; to < charges_.size(); ++to) {
        sum += amount(charges_[to].ask);
        const double allowed = rate * seconds(charges_[to].at - charges_[from].at) + room;
        if (sum <= allowed + 1e-3 * rate) continue;
        error_ = std::string(name) + ": " + std::to_string(sum) + " charged where " +
                 std::to_string(allowed) + " are allowed, charges " + std::to_string(from) +
                 " to " + std::to_string(to);
        return;
      }
    }
  }
  void check_intervals() {
    std::stable_sort(charges_.begin(), charges_.end(),
                     [](const Charge& a, const Charge& b) { return a.at < b.at; });
    check_dimension("requests", options_.requests_per_minute, *options_.request_burst,
                    [](const Ask& ask) { return static_cast<double>(ask.requests); });
    check_dimension("tokens", options_.tokens_per_minute, *options_.token_burst,
                    [](const Ask& ask) { return static_cast<double>(ask.tokens()); });
  }

  void check_rest() {
    const KeySnapshot snapshot = fleet_.front()->snapshot(now_);
    if (snapshot.in_flight != 0) error_ = "calls in flight are left";
    if (snapshot.waiting != 0) error_ = "tickets are left";
    if (snapshot.granted != grants_.size()) error_ = "the backend counts other grants";
  }

  static double seconds(Duration duration) {
    return std::chrono::duration<double>(duration).count();
  }
  [[nodiscard]] std::string where() const {
    return std::to_string(ended_) + " of " + std::to_string(calls_.size()) + " calls ended, " +
           std::to_string(questions_) + " questions, " + std::to_string(members_) + " limiters";
  }

  std::mt19937_64 random_;
  QuotaOptions options_{};
  std::size_t members_ = 1;
  std::vector<Call> calls_;
  Fleet fleet_;
  std::vector<Queue> queues_;
  std::multimap<Instant, Running> running_;
  std::multimap<Instant, std::size_t> giving_up_;
  std::vector<Charge> charges_;
  std::set<std::uint64_t> grants_;
  std::vector<std::shared_ptr<void>> listening_;
  Instant now_{};
  Instant latest_told_{};
  Duration leapt_{};
  std::uint64_t ids_ = 0;
  std::size_t ended_ = 0;
  std::size_t questions_ = 0;
  std::size_t events_ = 0;
  std::string error_;
};

}  // namespace moderato::test
