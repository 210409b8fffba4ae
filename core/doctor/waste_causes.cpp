#include <fmt/format.h>

#include <cmath>
#include <set>

#include <moderato/core/doctor/case_facts.hpp>

// Causes that lie in what is asked: load that need not be. Each is measured as a share of the calls
// (or tokens) that would not have been sent without it, and so as a share of the refusals that it
// explains.

namespace moderato {
namespace {

constexpr double little = 0.25;  // of the load: less is not worth a finding

std::int64_t tokens_of(const CallList& calls) {
  std::int64_t sum = 0;
  for (const CallRecord* call : calls) sum += call->usage.total();
  return sum;
}

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0.0;
}

template <class Count>
double ratio(Count part, Count whole) {
  return ratio(static_cast<double>(part), static_cast<double>(whole));
}

/// Answers of a chat that had been given before in it, by the same agent.
std::size_t repeated_answers(const CallList& calls, std::size_t& first_repeat) {
  std::map<std::pair<std::string_view, std::string_view>, int> said;
  std::size_t repeated = 0;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (calls[i]->reply.empty() || calls[i]->purpose == Purpose::speaker_selection) continue;
    if (++said[{calls[i]->agent, calls[i]->reply}] > 1) {
      if (repeated++ == 0) first_repeat = i;
    }
  }
  return repeated;
}

bool is_cap(StopReason reason) {
  return reason == StopReason::max_turns || reason == StopReason::max_consecutive_auto_reply ||
         reason == StopReason::max_messages || reason == StopReason::max_calls ||
         reason == StopReason::token_budget || reason == StopReason::deadline;
}

/// Chats of one kind: how many calls they made.
struct Ends {
  std::vector<std::int64_t> by_cap{};
  std::vector<std::int64_t> by_themselves{};
};

Ends ends_of(const CaseFacts& facts) {
  Ends ends;
  for (const ChatEnd& end : facts.history.ends) {
    (is_cap(end.reason) ? ends.by_cap : ends.by_themselves).push_back(end.calls);
  }
  return ends;
}

}  // namespace

MaybeExplanation find_loop(const CaseFacts& facts) {
  std::size_t repeated = 0;
  std::size_t looping = 0;
  std::size_t first = 0;
  for (const auto& [session, calls] : facts.chats) {
    std::size_t first_here = 0;
    const std::size_t here = repeated_answers(calls, first_here);
    if (here < 3) continue;
    repeated += here;
    if (looping++ == 0) first = first_here + 1;
  }
  const double excess = ratio(repeated, facts.answered.size());
  if (excess < little) return std::nullopt;
  return Explanation{
      .cause = Cause::loop,
      .share = facts.explained(excess),
      .evidence = fmt::format("{} of {} answers had been given before in the same chat, in {} "
                              "chats; in one of them from call {} on",
                              repeated, facts.answered.size(), looping, first),
      .option = "stop_after of repetition",
      .value = 3,
      .fix = fmt::format("leave repetition on (stop_after = 3): it ends such a chat at call {}",
                         first + 2)};
}

MaybeExplanation find_chatter(const CaseFacts& facts) {
  const Ends ends = ends_of(facts);
  const std::size_t all = ends.by_cap.size() + ends.by_themselves.size();
  if (all == 0 || ratio(ends.by_cap.size(), all) < 0.6) return std::nullopt;
  const std::int64_t usual = quantile(ends.by_cap, 0.5);
  if (usual < 8) return std::nullopt;
  std::int64_t calls = 0;
  for (const std::int64_t count : ends.by_cap) calls += count;
  // Nobody can know what they needed; a chat of four calls has a question, two drafts, an answer.
  const double needed = 4.0 * static_cast<double>(ends.by_cap.size());
  const double excess = std::max(
      0.0, ratio(static_cast<double>(calls) - needed, static_cast<double>(facts.answered.size())));
  if (excess < little) return std::nullopt;
  return Explanation{
      .cause = Cause::chatter,
      .share = facts.explained(std::min(1.0, excess)),
      .evidence = fmt::format("{} of {} chats were ended by a cap, after {} calls, and by nothing "
                              "that was said",
                              ends.by_cap.size(), all, usual),
      .option = "termination",
      .value = static_cast<double>((usual + 1) / 2),
      .fix = fmt::format("let somebody end it (termination = contains(\"DONE\"), and tell the "
                         "agents to say so), or max_turns = {}",
                         (usual + 1) / 2)};
}

MaybeExplanation find_high_cap(const CaseFacts& facts) {
  const Ends ends = ends_of(facts);
  const std::size_t all = ends.by_cap.size() + ends.by_themselves.size();
  if (ends.by_cap.empty() || ratio(ends.by_cap.size(), all) >= 0.6) return std::nullopt;
  const std::int64_t needed = std::max<std::int64_t>(1, quantile(ends.by_themselves, 0.95));
  std::int64_t excess = 0;
  for (const std::int64_t calls : ends.by_cap) excess += std::max<std::int64_t>(0, calls - needed);
  const double share =
      ratio(static_cast<double>(excess), static_cast<double>(facts.answered.size()));
  if (share < little || quantile(ends.by_cap, 0.5) < 3 * needed) return std::nullopt;
  const auto cap = static_cast<std::int64_t>(std::ceil(1.5 * static_cast<double>(needed)));
  return Explanation{
      .cause = Cause::high_cap,
      .share = facts.explained(share),
      .evidence = fmt::format("{} of {} chats ran into their cap after {} calls; those "
                              "that ended by themselves needed {} at most",
                              ends.by_cap.size(), all, quantile(ends.by_cap, 0.5), needed),
      .option = "max_turns",
      .value = static_cast<double>(cap),
      .fix = fmt::format("max_turns = {} (or max_consecutive_auto_reply)", cap)};
}

MaybeExplanation find_speaker_selection(const CaseFacts& facts) {
  CallList choosing;
  CallList speaking;
  for (const CallRecord* call : facts.answered) {
    (call->purpose == Purpose::speaker_selection ? choosing : speaking).push_back(call);
  }
  const double excess = std::max(ratio(tokens_of(choosing), tokens_of(facts.answered)),
                                 ratio(choosing.size(), facts.answered.size()));
  if (choosing.size() < 3 || excess < 0.45) return std::nullopt;
  return Explanation{
      .cause = Cause::speaker_selection,
      .share = facts.explained(excess),
      .evidence = fmt::format("{} of {} calls, {} of {} tokens, were spent on choosing "
                              "who speaks",
                              choosing.size(), facts.answered.size(), tokens_of(choosing),
                              tokens_of(facts.answered)),
      .option = "speaker_selection_method",
      .fix =
          "speaker_selection_method = round_robin (or your own function), or a "
          "smaller model that chooses"};
}

MaybeExplanation find_context_growth(const CaseFacts& facts) {
  double excess = 0;
  double growth = 0;
  std::vector<std::int64_t> early;
  for (const auto& [session, calls] : facts.chats) {
    CallList turns;
    for (const CallRecord* call : calls) {
      if (call->purpose == Purpose::reply) turns.push_back(call);
    }
    if (turns.size() < 6) continue;
    const std::int64_t first = std::max<std::int64_t>(1, turns.front()->usage.input);
    const double grown = ratio(turns.back()->usage.input, first);
    if (grown < 4) continue;
    growth = std::max(growth, grown);
    const std::int64_t third = turns[turns.size() / 3]->usage.input;
    early.push_back(third);
    for (const CallRecord* call : turns) {
      excess += static_cast<double>(std::max<std::int64_t>(0, call->usage.input - third));
    }
  }
  const double share = ratio(excess, static_cast<double>(tokens_of(facts.answered)));
  if (share < little) return std::nullopt;
  const std::int64_t keep = quantile(early, 0.5);
  return Explanation{
      .cause = Cause::context_growth,
      .share = facts.explained_by_tokens(share),
      .evidence = fmt::format("prompts grew up to {:.0f} times within a chat; {:.0f} % of all "
                              "tokens are history beyond the first third of a chat",
                              growth, 100 * share),
      .option = "max_tokens of token_limiter",
      .value = static_cast<double>(keep),
      .fix = fmt::format("transforms = {{token_limiter({{.max_tokens = {}}})}}", keep)};
}

MaybeExplanation find_long_outputs(const CaseFacts& facts) {
  std::int64_t reserved = 0;
  std::int64_t used = 0;
  std::int64_t input = 0;
  std::vector<std::int64_t> outputs;
  for (const CallRecord* call : facts.answered) {
    reserved += call->reserved_output;
    used += call->usage.output;
    input += call->usage.input;
    outputs.push_back(call->usage.output);
  }
  if (outputs.size() < 3 || reserved < 4 * used) return std::nullopt;
  // What is reserved and not used costs only a quota of tokens.
  if (facts.refused_for_tokens == 0) return std::nullopt;
  const double excess = ratio(reserved - used, reserved + input);
  if (excess < 0.5) return std::nullopt;
  const auto cap = static_cast<std::int64_t>(
      std::ceil(1.25 * static_cast<double>(std::max<std::int64_t>(1, quantile(outputs, 0.95)))));
  return Explanation{
      .cause = Cause::long_outputs,
      .share = facts.explained_by_tokens(excess),
      .evidence = fmt::format("{} tokens of output are asked for and {} used ({} at the 95th "
                              "percentile): {:.0f} % of the quota is reserved for nothing",
                              reserved, used, quantile(outputs, 0.95), 100 * excess),
      .option = "max_output_tokens",
      .value = static_cast<double>(cap),
      .fix = fmt::format("sampling.max_output_tokens = {}", cap)};
}

MaybeExplanation find_cache_misses(const CaseFacts& facts) {
  std::map<std::pair<std::string_view, std::string_view>, int> seen;
  std::size_t again = 0;
  for (const CallRecord* call : facts.answered) {
    if (call->request.empty()) continue;
    if (++seen[{call->model, call->request}] > 1) ++again;
  }
  const double excess = ratio(again, facts.answered.size());
  if (again < 3 || excess < little) return std::nullopt;
  return Explanation{
      .cause = Cause::cache_misses,
      .share = facts.explained(excess),
      .evidence = fmt::format("{} of {} answered requests had been answered before, word "
                              "for word the same",
                              again, facts.answered.size()),
      .option = "cache of the model",
      .fix = "give the model a cache: an identical request is then answered from it"};
}

MaybeExplanation find_slow_tool(const CaseFacts& facts) {
  double model = 0;
  for (const CallRecord* call : facts.sent) model += in_seconds(call->latency + call->queue_wait);
  double all = 0;
  std::map<std::string_view, std::vector<Duration>> tools;
  for (const ToolRun& run : facts.history.tools) {
    all += in_seconds(run.took);
    tools[run.tool].push_back(run.took);
  }
  if (all < 1 || ratio(all, all + model) < 0.5) return std::nullopt;
  std::string_view slowest;
  double longest = 0;
  for (const auto& [tool, runs] : tools) {
    double sum = 0;
    for (const Duration took : runs) sum += in_seconds(took);
    if (sum > longest) slowest = tool;
    longest = std::max(longest, sum);
  }
  const double limit = std::ceil(1.5 * in_seconds(quantile(tools[slowest], 0.5)));
  return Explanation{
      .cause = Cause::slow_tool,
      .share = facts.refused.empty() ? ratio(all, all + model) : 0.0,
      .evidence = fmt::format("{:.1f} s went into tools ({:.1f} s of it into {}, {} runs) and "
                              "{:.1f} s into model calls",
                              all, longest, slowest, tools[slowest].size(), model),
      .option = fmt::format("timeout of {}", slowest),
      .value = limit,
      .fix = fmt::format("ToolOptions{{.timeout = {:g}s}} for {}, or make it quicker; the provider "
                         "is not what is slow",
                         limit, slowest)};
}

}  // namespace moderato
