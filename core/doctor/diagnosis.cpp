#include <moderato/core/doctor/diagnosis.hpp>

#include <fmt/format.h>

#include <set>

#include <moderato/core/doctor/case_facts.hpp>
#include <moderato/core/journal/sqlite_journal.hpp>
#include <moderato/core/name_table.hpp>

namespace moderato {
namespace {

constexpr NameTable<Cause, 13> names{{"billing", "parallel_bursts", "stacked_retries",
                                      "foreign_consumption", "quota_too_small", "loop", "chatter",
                                      "high_cap", "speaker_selection", "context_growth",
                                      "long_outputs", "cache_misses", "slow_tool"}};

/// What a refused attempt lacked, as far as the answer's headers tell.
bool lacked_tokens(const CallRecord& call) {
  if (!call.remaining_tokens) return call.wait_reason == "tokens";
  return *call.remaining_tokens < call.estimated_input + call.reserved_output &&
         call.remaining_requests.value_or(1) > 0;
}

void add_events(const std::vector<Json>& events, const std::string& run, CaseHistory& history) {
  for (const Json& event : events) {
    const std::string name = event.value("event", "");
    if (name == "tool_finished") {
      history.tools.push_back({.session = run,
                               .tool = event.value("tool", ""),
                               .took = std::chrono::duration_cast<Duration>(
                                   std::chrono::duration<double>(event.value("took", 0.0)))});
    } else if (name == "stopped") {
      auto reason = stop_reason_from_string(event.value("reason", "")).value_or(StopReason::none);
      // Whoever asks a group or a graph has one turn: that was meant, and nobody was cut short.
      const bool meant = event.value("stop", "").find("max_turns(1)") != std::string::npos;
      if (meant && reason == StopReason::max_turns) reason = StopReason::none;
      history.ends.push_back(
          {.session = run, .reason = reason, .calls = whole_number(event, "calls", 0)});
    }
  }
}

}  // namespace

std::string_view to_string(Cause cause) noexcept {
  return names.name_of(cause);
}

Result<CaseHistory> case_history(SqliteJournal& journal, const std::string& run) {
  CaseHistory history;
  auto calls = run.empty() ? journal.calls() : journal.calls(run);
  if (!calls) return tl::unexpected<Error>(std::move(calls).error());
  history.calls = std::move(*calls);
  std::vector<std::string> names_of_runs{run};
  if (run.empty()) {
    auto runs = journal.runs();
    if (!runs) return tl::unexpected<Error>(std::move(runs).error());
    names_of_runs.clear();
    std::set<std::string> all;
    for (const RunInfo& info : *runs) all.insert(info.id);
    for (const std::string& name : all) {  // those within another come with it
      if (!all.contains(name.substr(0, name.find('/'))) || name.find('/') == std::string::npos) {
        names_of_runs.push_back(name);
      }
    }
  }
  for (const std::string& name : names_of_runs) {
    auto events = journal.events(name);
    if (!events) return tl::unexpected<Error>(std::move(events).error());
    add_events(*events, name, history);
  }
  return history;
}

CaseFacts::CaseFacts(const CaseHistory& from) : history(from) {
  for (const CallRecord& call : from.calls) {
    if (call.error == ErrorCode::quota_exhausted) unpaid.push_back(&call);
    if (call.attempt > 0) sent.push_back(&call);
  }
  std::stable_sort(sent.begin(), sent.end(), [](const CallRecord* a, const CallRecord* b) {
    return a->sent_at < b->sent_at;
  });
  WallTime end{};
  for (const CallRecord* call : sent) {
    end = std::max(end, call->sent_at + call->latency);
    if (call->ok()) {
      answered.push_back(call);
      if (!call->session.empty()) chats[call->session].push_back(call);
    } else if (call->http_status == 429 && call->error != ErrorCode::quota_exhausted) {
      refused.push_back(call);
      if (lacked_tokens(*call)) ++refused_for_tokens;
    }
  }
  if (!sent.empty()) seconds = in_seconds(end - sent.front()->sent_at);
}

Diagnosis diagnose(const CaseHistory& history) {
  const CaseFacts facts(history);
  Diagnosis diagnosis{
      .calls = static_cast<std::int64_t>(facts.answered.size()),
      .attempts = static_cast<std::int64_t>(facts.sent.size()),
      .refused = static_cast<std::int64_t>(facts.refused.size() + facts.unpaid.size())};
  double explained = 0;
  for (const auto& look :
       {find_billing, find_parallel_bursts, find_stacked_retries, find_foreign_consumption,
        find_loop, find_chatter, find_high_cap, find_speaker_selection, find_context_growth,
        find_long_outputs, find_cache_misses, find_slow_tool}) {
    if (auto found = look(facts)) {
      explained = std::max(explained, found->share);
      diagnosis.findings.push_back(std::move(*found));
    }
  }
  if (auto found = find_quota_too_small(facts, explained)) {
    diagnosis.findings.push_back(std::move(*found));
  }
  std::stable_sort(diagnosis.findings.begin(), diagnosis.findings.end(),
                   [](const Explanation& a, const Explanation& b) { return a.share > b.share; });
  return diagnosis;
}

Json to_json(const Diagnosis& diagnosis) {
  Json findings = Json::array();
  for (const Explanation& finding : diagnosis.findings) {
    findings.push_back({{"cause", std::string(to_string(finding.cause))},
                        {"share", finding.share},
                        {"evidence", finding.evidence},
                        {"option", finding.option},
                        {"value", finding.value},
                        {"fix", finding.fix}});
  }
  return {{"healthy", diagnosis.healthy()},
          {"calls", diagnosis.calls},
          {"attempts", diagnosis.attempts},
          {"refused", diagnosis.refused},
          {"findings", std::move(findings)}};
}

std::string to_string(const Diagnosis& diagnosis) {
  std::string text = fmt::format("{} calls, {} attempts, {} refused\n", diagnosis.calls,
                                 diagnosis.attempts, diagnosis.refused);
  if (diagnosis.healthy())
    return text + "healthy: no cause of refusals, waits or waste was found\n";
  const char* what = diagnosis.refused > 0 ? "of the refusals" : "of what was spent";
  for (std::size_t i = 0; i < diagnosis.findings.size(); ++i) {
    const Explanation& finding = diagnosis.findings[i];
    text +=
        fmt::format("\n{}. {} ({:.0f} % {})\n   {}\n   fix: {}\n", i + 1, to_string(finding.cause),
                    100 * finding.share, what, finding.evidence, finding.fix);
  }
  return text + fmt::format("\nFirst: {}\n", diagnosis.findings.front().fix);
}

}  // namespace moderato
