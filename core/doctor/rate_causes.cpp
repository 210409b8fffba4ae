#include <fmt/format.h>

#include <cmath>
#include <set>

#include <moderato/core/doctor/case_facts.hpp>

// Causes of refusals that lie in when and by whom calls are sent.
//
// The rate that a quota carries is what was answered: while a provider refuses, it answers as much
// as it allows. So a burst shows as refusals that follow many starts, in a run whose average stays
// below what its best stretches carried; a quota that is too small shows as refusals from end to
// end. Stacked retries show as one and the same request that comes again under another call's
// number after a failure: a model's own retries keep their number. Somebody else shows in the
// headers: what is left falls faster than we take.

namespace moderato {
namespace {

constexpr double few = 0.3;  // a smaller share of the refusals is not worth a finding

std::size_t started_between(const CallList& sent, WallTime from, WallTime to) {
  const auto earlier = [](const CallRecord* call, WallTime at) { return call->sent_at < at; };
  const auto first = std::lower_bound(sent.begin(), sent.end(), from, earlier);
  const auto last =
      std::upper_bound(sent.begin(), sent.end(), to,
                       [](WallTime at, const CallRecord* call) { return at < call->sent_at; });
  return static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, last - first));
}

double mean_latency(const CallList& answered) {
  double sum = 0;
  for (const CallRecord* call : answered) sum += in_seconds(call->latency);
  return answered.empty() ? 0.0 : sum / static_cast<double>(answered.size());
}

/// Of how many of the minutes (tenths, in a short run) some attempt was refused.
double refused_all_along(const CaseFacts& facts) {
  constexpr int parts = 10;
  if (facts.refused.empty() || facts.seconds <= 0) return 0;
  const WallTime begin = facts.sent.front()->sent_at;
  std::set<int> with;
  for (const CallRecord* call : facts.refused) {
    with.insert(std::min(
        parts - 1, static_cast<int>(in_seconds(call->sent_at - begin) / facts.seconds * parts)));
  }
  return static_cast<double>(with.size()) / parts;
}

}  // namespace

MaybeExplanation find_billing(const CaseFacts& facts) {
  if (facts.unpaid.empty()) return std::nullopt;
  const CallRecord& call = *facts.unpaid.front();
  const auto all = static_cast<double>(facts.unpaid.size() + facts.refused.size());
  return Explanation{
      .cause = Cause::billing,
      .share = static_cast<double>(facts.unpaid.size()) / all,
      .evidence = fmt::format("{} calls were refused with {}", facts.unpaid.size(),
                              call.provider_code.empty() ? "quota_exhausted" : call.provider_code),
      .option = "the account",
      .fix = "no wait cures it: pay, or raise the spend limit of the key"};
}

MaybeExplanation find_parallel_bursts(const CaseFacts& facts) {
  if (facts.refused.size() < 3 || facts.seconds <= 0) return std::nullopt;
  const double usual = static_cast<double>(facts.sent.size()) / facts.seconds;
  std::size_t in_bursts = 0;
  std::size_t peak = 0;
  for (const CallRecord* call : facts.refused) {
    const std::size_t starts =
        started_between(facts.sent, call->sent_at - std::chrono::seconds(1), call->sent_at);
    peak = std::max(peak, starts);
    if (starts >= 5 && static_cast<double>(starts) > 4 * usual) ++in_bursts;
  }
  const double share = static_cast<double>(in_bursts) / static_cast<double>(facts.refused.size());
  if (share < few || refused_all_along(facts) > 0.6) return std::nullopt;
  const double carried = static_cast<double>(facts.answered.size()) / facts.seconds;
  const double slots = std::max(1.0, std::floor(carried * mean_latency(facts.answered)));
  return Explanation{
      .cause = Cause::parallel_bursts,
      .share = share,
      .evidence = fmt::format("{} of {} refusals came within a second of a burst of starts (up to "
                              "{}; on average {:.1f} a second were sent)",
                              in_bursts, facts.refused.size(), peak, usual),
      .option = "max_in_flight of quota",
      .value = slots,
      .fix = fmt::format("limiter = quota({{.requests_per_minute = …, .max_in_flight = {:g}}}): "
                         "that many carry {:.1f} calls a second of {:.1f} s each",
                         slots, carried, mean_latency(facts.answered))};
}

MaybeExplanation find_stacked_retries(const CaseFacts& facts) {
  if (facts.refused.empty()) return std::nullopt;
  struct Request {
    std::size_t attempts = 0;
    bool failed = false;
    bool again = false;  // asked anew after it had been given up
  };
  std::map<std::pair<std::string_view, std::string_view>, Request> requests;
  std::size_t again = 0;
  for (const CallRecord* call : facts.sent) {
    if (call->request.empty()) continue;
    Request& request = requests[{call->agent, call->request}];
    // A first attempt at what failed before is another call for it, of this process or the next.
    request.again = request.failed && (request.again || call->attempt <= 1);
    ++request.attempts;
    if (call->http_status == 429 && (request.again || request.attempts > 4)) ++again;
    request.failed = !call->ok();
  }
  const double share = static_cast<double>(again) / static_cast<double>(facts.refused.size());
  const double attempts = static_cast<double>(facts.sent.size()) /
                          static_cast<double>(std::max<std::size_t>(1, requests.size()));
  if (share < few || attempts < 2) return std::nullopt;
  return Explanation{.cause = Cause::stacked_retries,
                     .share = share,
                     .evidence = fmt::format(
                         "{} of {} refusals were of requests that had been given up and were asked "
                         "again; {:.1f} attempts a request",
                         again, facts.refused.size(), attempts),
                     .option = "max_attempts of retry",
                     .value = 4,
                     .fix =
                         "take out the retry around the model: its own (max_attempts = 4) waits as "
                         "the provider asks"};
}

MaybeExplanation find_foreign_consumption(const CaseFacts& facts) {
  // For each key, answers in the order in which they came: what is left may only fall by what we
  // sent in between.
  std::map<std::string_view, CallList> keys;
  for (const CallRecord* call : facts.sent) {
    if (call->remaining_requests) keys[call->key].push_back(call);
  }
  std::int64_t ours = 0;
  std::int64_t foreign = 0;
  std::int64_t limit = 0;
  for (auto& [key, calls] : keys) {
    std::stable_sort(calls.begin(), calls.end(), [](const CallRecord* a, const CallRecord* b) {
      return a->sent_at + a->latency < b->sent_at + b->latency;
    });
    for (std::size_t i = 1; i < calls.size(); ++i) {
      const auto fell = *calls[i - 1]->remaining_requests - *calls[i]->remaining_requests;
      ++ours;
      // Calls that were in flight meanwhile may be counted already.
      const auto flying = static_cast<std::int64_t>(started_between(
          facts.sent, calls[i - 1]->sent_at, calls[i]->sent_at + calls[i]->latency));
      foreign += std::max<std::int64_t>(0, fell - std::max<std::int64_t>(1, flying));
      limit = std::max(limit, calls[i]->limit_requests.value_or(0));
    }
  }
  if (ours < 5) return std::nullopt;
  const double share = static_cast<double>(foreign) / static_cast<double>(foreign + ours);
  if (share < 0.25 || facts.refused.empty()) return std::nullopt;
  const double rest = std::floor(static_cast<double>(limit) * (1 - share));
  return Explanation{
      .cause = Cause::foreign_consumption,
      .share = std::min(1.0, 0.5 + share / 2),
      .evidence = fmt::format("while {} requests were ours, the provider counted {} more: {:.0f} % "
                              "of the quota is used by somebody else",
                              ours, foreign, 100 * share),
      .option = "requests_per_minute of quota",
      .value = rest,
      .fix = fmt::format("let all that use the key share one limiter; until then "
                         "requests_per_minute = {:g}, which is what is left of {}",
                         rest, limit)};
}

MaybeExplanation find_quota_too_small(const CaseFacts& facts, double explained) {
  if (facts.seconds <= 0 || facts.answered.empty()) return std::nullopt;
  double waited = 0;
  double worked = 0;
  for (const CallRecord* call : facts.answered) {
    waited += in_seconds(call->queue_wait);
    worked += in_seconds(call->latency);
  }
  const bool refused = refused_all_along(facts) > 0.6;
  const bool queued = facts.answered.size() >= 10 && waited > 2 * worked &&
                      waited > 5.0 * static_cast<double>(facts.answered.size());
  if (!refused && !queued) return std::nullopt;
  const double share = 1 - std::min(1.0, explained);
  if (share < few) return std::nullopt;
  const double served = 60 * static_cast<double>(facts.answered.size()) / facts.seconds;
  std::set<std::pair<std::string_view, std::string_view>> distinct;
  for (const CallRecord* call : facts.sent) distinct.insert({call->session, call->request});
  const double factor =
      refused ? static_cast<double>(std::max(distinct.size(), facts.answered.size())) /
                    static_cast<double>(facts.answered.size())
              : 1 + waited / (waited + worked);
  const double wanted = std::ceil(1.2 * served * std::max(1.0, factor));
  return Explanation{
      .cause = Cause::quota_too_small,
      .share = share,
      .evidence = fmt::format("{:.0f} calls a minute were answered; {} were refused from end to "
                              "end of the run, and calls waited {:.1f} s on average",
                              served, facts.refused.size(),
                              waited / static_cast<double>(facts.answered.size())),
      .option = "the quota, or max_in_flight of parallel",
      .value = wanted,
      .fix = fmt::format(
          "ask the provider for {:g} requests a minute, or start fewer chats at once", wanted)};
}

}  // namespace moderato
