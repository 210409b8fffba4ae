#include <moderato/llm/limiter/fair_queue.hpp>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <tuple>

// Who goes next
//
// Order of arrival is fair to calls, and nobody pays for calls. A tenant with 900 waiting calls
// gets nine tenths of the quota, and the tenant with one call waits for all of them. Start-time
// fair queueing (see Arbiter, which does the same between processes) gives flows their shares
// instead; here on two levels: first which flow, then which conversation of the flow.
//
//   Tenants A (weight 1) and B (weight 2), all calls of 1 s: starts A 0, 1, 2; B 0, 0.5, 1.
//   Order A B B A B B A …: B has twice A's share while both wait, and A all of it when B is gone.
//
// The classes interactive, normal and batch are weights 8 : 4 : 1 of flows, not strict priorities:
// a batch call waits longer and never for ever.
//
// Within a flow a second rule comes first: conversations under way go before first calls of new
// ones. Two hundred chats of five calls each, all begun at once, advance in lockstep under plain
// fairness: all of them finish in the last fifth of the time, and all of them get long at the same
// time, so that the tokens of the quota are idle at the start and scarce at the end. Finishing what
// was begun halves the mean time to finish, and keeps young and old conversations mixed. First
// calls age: one that has waited for a minute counts as under way, so none waits for ever.
//
// A retry has paid for its place already: it goes to the head of its flow, and its flow still waits
// for its own turn.

namespace moderato {
namespace {

constexpr std::size_t looked_at = 256;  // entries that ahead_of() walks over at most

std::uint64_t hash_of(std::string_view text) noexcept {  // FNV-1a: the same in every process
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  }
  return hash;
}

std::int64_t scaled(Duration cost, double weight) noexcept {
  return static_cast<std::int64_t>(
      std::min(static_cast<double>(cost.count()) / std::max(weight, 1e-6), 1e17));
}

Ask scaled(const Ask& ask, double share) noexcept {
  const auto part = [&](std::int64_t value) {
    return static_cast<std::int64_t>(std::llround(static_cast<double>(value) * share));
  };
  return {.requests = part(ask.requests),
          .input_tokens = part(ask.input_tokens),
          .output_tokens = part(ask.output_tokens),
          .micros = part(ask.micros)};
}

}  // namespace

bool FairQueue::EarlierFlow::operator()(const Flow* left, const Flow* right) const noexcept {
  return std::tuple(left->start, left->order) < std::tuple(right->start, right->order);
}

void FairQueue::add(QueuedAhead& sum, const Entry& entry) {
  ++sum.calls;
  sum.cost += entry.ask;
  for (std::size_t i = 0; i < entry.idle_.size(); ++i) sum.idle[i] += entry.idle_[i];
}

void FairQueue::subtract(QueuedAhead& sum, const Entry& entry) {
  --sum.calls;
  sum.cost -= entry.ask;
  for (std::size_t i = 0; i < entry.idle_.size(); ++i) sum.idle[i] -= entry.idle_[i];
}

void FairQueue::push(Entry& entry, std::string_view name, double weight) {
  auto found = flows_.find(name);
  if (found == flows_.end()) {
    forget_idle_flows();
    found = flows_.emplace(name, Flow{.name = std::string(name), .hash = hash_of(name)}).first;
  }
  Flow& flow = found->second;
  flow.weight = weight;
  entry.flow_ = &flow;
  entry.order_ = ++arrivals_;
  entry.late_ = entry.first_call;
  const auto served = flow.conversations.find(entry.conversation);
  const bool known = entry.conversation != 0 && served != flow.conversations.end();
  entry.rank_ = known ? std::max(flow.now, served->second) : flow.now;
  if (flow.entries.empty()) {
    flow.start = std::max(now_, flow.finish);
    flow.order = entry.order_;
    waiting_.insert(&flow);
  }
  flow.entries.insert(&entry);
  add(flow.sum, entry);
  add(sum_, entry);
}

void FairQueue::note_idle(Entry& entry, const IdleTimes& idle) noexcept {
  if (waiting_.size() != 1) return;
  entry.idle_ = idle;
  for (std::size_t i = 0; i < idle.size(); ++i) {
    entry.flow_->sum.idle[i] += idle[i];
    sum_.idle[i] += idle[i];
  }
}

void FairQueue::pay(Entry& entry, Flow& flow) {
  now_ = std::max(now_, flow.start);
  flow.finish = flow.start + scaled(entry.cost, flow.weight * entry.share);
  flow.start = flow.finish;
  flow.now = std::max(flow.now, entry.rank_);
  if (entry.conversation == 0) return;
  flow.conversations[entry.conversation] = entry.rank_ + entry.cost.count();
  if (flow.conversations.size() < 64 + 2 * flow.entries.size()) return;
  std::erase_if(flow.conversations, [&](const auto& one) { return one.second <= flow.now; });
}

void FairQueue::remove(Entry& entry, bool granted) {
  Flow& flow = *entry.flow_;
  waiting_.erase(&flow);
  flow.entries.erase(&entry);
  subtract(flow.sum, entry);
  subtract(sum_, entry);
  if (granted) pay(entry, flow);
  if (!flow.entries.empty()) waiting_.insert(&flow);
}

/// A flow without entries whose finish has passed is like one that never was.
void FairQueue::forget_idle_flows() {
  if (flows_.size() < 64 + 2 * waiting_.size()) return;
  std::erase_if(flows_, [&](const auto& item) {
    return item.second.entries.empty() && item.second.finish <= now_;
  });
}

void FairQueue::let_age(Flow& flow, Instant now) {
  // First calls stand together at the end of the order, the oldest first; looking at the first of
  // them is enough, because the next look finds the next.
  const auto late = flow.entries.lower_bound(
      Rank{true, true, std::numeric_limits<std::int64_t>::min(), std::uint64_t{0}});
  if (late == flow.entries.begin() || late == flow.entries.end()) return;
  Entry& entry = **late;
  if (now - entry.arrived < patience) return;
  flow.entries.erase(late);
  entry.late_ = false;
  entry.rank_ = std::min(entry.rank_, (*flow.entries.begin())->rank_);
  flow.entries.insert(&entry);
}

FairQueue::Entry* FairQueue::front(Instant now) {
  if (waiting_.empty()) return nullptr;
  Flow& flow = **waiting_.begin();
  let_age(flow, now);
  return *flow.entries.begin();
}

FairQueue::Entry* FairQueue::after(const Entry& entry) {
  Flow& own = *entry.flow_;
  const auto found = own.entries.find(const_cast<Entry*>(&entry));
  if (found == own.entries.end()) return nullptr;
  const auto follower = std::next(found);
  if (follower != own.entries.end() && !(*follower)->has_ticket) return *follower;
  const auto without = std::find_if(waiting_.begin(), waiting_.end(), [&](const Flow* flow) {
    return flow != &own && !(*flow->entries.begin())->has_ticket;
  });
  return without != waiting_.end() ? *(*without)->entries.begin() : nullptr;
}

void FairQueue::set_lead(Entry& entry, std::int64_t lead) {
  Flow& flow = *entry.flow_;
  if (*flow.entries.begin() != &entry) return;
  waiting_.erase(&flow);
  flow.start = now_ + lead;
  waiting_.insert(&flow);
}

QueuedAhead FairQueue::ahead_of(const Entry& entry) const {
  const Flow& own = *entry.flow_;
  QueuedAhead ahead = own.sum;
  subtract(ahead, entry);
  std::size_t steps = 0;
  for (auto later = own.entries.rbegin(); later != own.entries.rend() && *later != &entry;
       ++later) {
    if (++steps > looked_at) break;
    subtract(ahead, **later);
  }
  if (waiting_.size() == 1) return ahead;
  ahead.idle = {};  // the notes are about one order of arrival
  // While this flow gets `work` of virtual time, another one gets as much, if it has so much.
  double work = 0;
  if (own.sum.calls > 0) {
    work = static_cast<double>(scaled(entry.cost, own.weight)) * static_cast<double>(ahead.calls);
  }
  steps = 0;
  for (const Flow* other : waiting_) {
    if (other == &own) continue;
    if (++steps > looked_at) break;
    const auto lead = static_cast<double>(own.start) + work - static_cast<double>(other->start);
    if (lead < 0) continue;
    const auto first = static_cast<double>(scaled((*other->entries.begin())->cost, other->weight));
    const double calls = std::min(std::floor(lead / std::max(first, 1.0)) + 1.0,
                                  static_cast<double>(other->sum.calls));
    const double share = calls / static_cast<double>(other->sum.calls);
    ahead.calls += static_cast<std::size_t>(calls);
    ahead.cost += scaled(other->sum.cost, share);
  }
  return ahead;
}

std::size_t FairQueue::size_of_flow(std::string_view name) const {
  const auto found = flows_.find(name);
  return found == flows_.end() ? 0 : found->second.entries.size();
}

std::size_t FairQueue::callers(const Entry& entry) const noexcept {
  return entry.flow_->entries.size();
}

std::uint64_t FairQueue::flow_hash(const Entry& entry) const noexcept {
  return entry.flow_->hash;
}

double FairQueue::weight(const Entry& entry) const noexcept {
  return entry.flow_->weight;
}

}  // namespace moderato
