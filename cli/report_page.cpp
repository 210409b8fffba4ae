#include "report_page.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <map>
#include <moderato/core/ledger_totals.hpp>

namespace moderato {
namespace {

constexpr const char* style = R"(
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --soft: #f2f2f0; --line: #d5d5d0;
  --ok: #2f7d4f; --wait: #b9b9b0; --bad: #c0392b; --again: #c98a1b; --first: #7fb6d9; --done: #2c6e9b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e4; --paper: #171717; --soft: #232322;
  --line: #3b3b39; --wait: #5c5c57; --first: #4f86a9; --done: #6fb1de; } }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; display: block; overflow-x: auto; }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
pre { background: var(--soft); padding: .6rem; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .85rem; }
svg { width: 100%; height: auto; background: var(--soft); }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; } .lane { font-weight: 600; }
.queued { fill: var(--wait); } .sent { fill: var(--first); } .answered { fill: var(--done); }
.retried { fill: var(--again); } .tool { fill: var(--ok); } .refused { fill: var(--bad); }
.tokens, .cost { fill: none; stroke: var(--done); stroke-width: 2; } .cost { stroke: var(--again); }
.budget { stroke: var(--bad); stroke-dasharray: 6 4; }
.stop { padding: .6rem .8rem; border-left: .4rem solid var(--ok); background: var(--soft); }
.stop.bad { border-color: var(--bad); }
.message { border-left: .2rem solid var(--line); padding: 0 .8rem; margin: .8rem 0;
  content-visibility: auto; contain-intrinsic-size: auto 6rem; }
.message p { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0; }
.s0 { border-color: #2c6e9b; } .s1 { border-color: #2f7d4f; } .s2 { border-color: #c98a1b; }
.s3 { border-color: #8e5aa8; } .s4 { border-color: #c0392b; } .s5 { border-color: #4b8f8c; }
pre i { font-style: normal; } .keyword { color: #8e44ad; } .string { color: #2f7d4f; }
.comment { color: #7f7f78; } .number { color: #b5651d; }
@media (prefers-color-scheme: dark) { .keyword { color: #c79be0; } .string { color: #84c99d; }
  .comment { color: #93938c; } .number { color: #e0a668; } }
@media (max-width: 40rem) { .drawing { overflow-x: auto; } .drawing svg { min-width: 40rem; } }
.who { font-weight: 600; font-size: .85rem; } details { margin: .3rem 0; }
.key span { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 .8rem; }
@media print { .message { break-inside: avoid; content-visibility: visible; }
  details::details-content { content-visibility: visible; display: block; } }
)";

/// Text with its ``` blocks as code; everything else stays as it was written.
std::string prose(std::string_view text) {
  std::string out;
  bool code = false;
  while (true) {
    const std::size_t fence = text.find("```");
    std::string_view part = text.substr(0, fence);
    if (code) {
      const std::size_t line = part.find('\n');
      const std::string_view language = line == std::string_view::npos ? "" : part.substr(0, line);
      if (line != std::string_view::npos) part.remove_prefix(line + 1);
      out += fmt::format("<pre><code title=\"{}\">{}</code></pre>", html_text(language),
                         code_html(part));
    } else if (!part.empty()) {
      out += fmt::format("<p>{}</p>", html_text(part));
    }
    if (fence == std::string_view::npos) return out;
    text.remove_prefix(fence + 3);
    code = !code;
  }
}

std::string text_of(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  return content.is_null() ? std::string() : dump_json(content);
}

/// `side`: the speaker's number, by which its messages have a colour of their own.
std::string message_html(const Json& entry, std::size_t side) {
  const Json message = entry.value("message", Json::object());
  const std::string kind = entry.value("kind", "");
  std::string body = prose(text_of(message.value("content", Json())));
  const auto add_call = [&](const Json& function) {
    body += fmt::format("<details><summary>calls {}</summary><pre>{}</pre></details>",
                        html_text(function.value("name", "")),
                        html_text(function.value("arguments", "")));
  };
  for (const Json& call : message.value("tool_calls", Json::array())) {
    add_call(call.value("function", Json::object()));
  }
  if (message.contains("function_call")) add_call(message.at("function_call"));
  if (message.contains("tool_responses")) {
    body = fmt::format("<details><summary>tool results</summary>{}</details>", body);
  }
  return fmt::format("<div class=\"message s{}\"><div class=\"who\">{} → {} · {}</div>{}</div>\n",
                     side % 6, html_text(entry.value("speaker", "")),
                     html_text(entry.value("recipient", "")), html_text(kind), body);
}

std::string transcript_html(const ReportData& data) {
  std::string html;
  std::map<std::string, std::size_t> speakers;
  for (const Json& event : data.events) {
    const std::string name = event.value("event", "");
    if (name == "message_added") {
      const Json entry = event.value("entry", Json::object());
      const auto speaker = speakers.emplace(entry.value("speaker", ""), speakers.size()).first;
      html += message_html(entry, speaker->second);
    } else if (name == "loop_suspected" || name == "warning") {
      html +=
          fmt::format("<p>⚠ {}</p>\n", html_text(event.value("text", event.value("evidence", ""))));
    }
  }
  return html.empty() ? "<p>No messages were kept.</p>\n" : html;
}

std::string calls_html(const ReportData& data) {
  std::string rows;
  const auto row = [&](const std::string& name, const LedgerTotals& sum) {
    const auto seconds = [](Duration d) { return std::chrono::duration<double>(d).count(); };
    rows += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
        "<td>{:.2f}</td><td>{:.2f}</td></tr>\n",
        html_text(name), sum.calls, sum.attempts, sum.refused, sum.usage.input, sum.usage.output,
        sum.cost > 0 ? fmt::format("{:.6f}", sum.cost) : "unknown", seconds(sum.queue_wait),
        seconds(sum.latency));
  };
  for (const auto& [group, sum] : totals_by(data.calls, {LedgerKey::agent, LedgerKey::purpose})) {
    row(group[0] + " · " + group[1], sum);
  }
  for (const auto& [group, sum] : totals_by(data.calls, {})) row("all", sum);
  return "<table><tr><th>agent · purpose</th><th>calls</th><th>attempts</th><th>refused</th>"
         "<th>in</th><th>out</th><th>cost</th><th>waited s</th><th>took s</th></tr>\n" +
         rows + "</table>\n";
}

std::string findings_html(const Diagnosis& diagnosis) {
  if (diagnosis.healthy()) return "<p>Healthy: nothing was refused, slow or wasted.</p>\n";
  std::string html = "<ol>\n";
  for (const Explanation& finding : diagnosis.findings) {
    html += fmt::format("<li><b>{}</b> ({:.0f} %): {}<br>Fix: <code>{}</code></li>\n",
                        to_string(finding.cause), 100 * finding.share, html_text(finding.evidence),
                        html_text(finding.fix));
  }
  return html + "</ol>\n";
}

/// The last stop of a chat of the run that is not within another one: its words and whether a
/// failure ended it.
std::string stop_html(const ReportData& data) {
  const std::string not_ended = "The run has not ended: moderato resume " + data.run.id;
  std::string words = not_ended;
  bool bad = true;
  int open = 0;
  for (const Json& event : data.events) {
    if (event.value("session", data.run.id) != data.run.id) continue;
    const std::string name = event.value("event", "");
    if (name == "chat_started" && open++ == 0) words = not_ended;
    if (name != "stopped" || (open > 0 && --open > 0)) continue;
    words = fmt::format("{}; {} calls, {} tokens", event.value("stop", ""),
                        whole_number(event, "calls", 0), whole_number(event, "tokens", 0));
    bad = event.value("reason", "").find("error") != std::string::npos ||
          event.value("reason", "") == "replay_mismatch";
  }
  bad = bad || words == not_ended;
  return fmt::format("<p class=\"stop{}\">{}</p>\n", bad ? " bad" : "", html_text(words));
}

std::string waits_html(const ReportData& data) {
  std::map<std::string, std::pair<int, double>> waits;
  for (const CallRecord& call : data.calls) {
    if (call.queue_wait <= Duration::zero()) continue;
    auto& [count, seconds] = waits[call.wait_reason.empty() ? "turn" : call.wait_reason];
    ++count;
    seconds += std::chrono::duration<double>(call.queue_wait).count();
  }
  if (waits.empty()) return "<p>No call waited.</p>\n";
  std::string html = "<table><tr><th>no room in</th><th>calls</th><th>waited s</th></tr>\n";
  for (const auto& [reason, sum] : waits) {
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{:.2f}</td></tr>\n", html_text(reason),
                        sum.first, sum.second);
  }
  return html + "</table>\n";
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        // Control characters have no place in HTML; an escape sequence shows as its letters.
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    }
  }
  return out;
}

std::string report_page(const ReportData& data) {
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n<title>{}</title><style>{}</style></head><body>\n",
      html_text(data.run.id), style);
  const auto section = [&](const char* id, const char* title, const std::string& body) {
    if (!body.empty()) {
      page += fmt::format("<h2 id=\"{}\">{}</h2>\n{}", id, title, body);
    }
  };
  const auto began = std::chrono::system_clock::to_time_t(
      std::chrono::time_point_cast<std::chrono::seconds>(data.run.created));
  page += fmt::format("<h1>Run {}</h1>\n<p>Begun {:%Y-%m-%d %H:%M:%S} UTC, {} process(es)</p>\n",
                      html_text(data.run.id), fmt::gmtime(began), data.run.epoch);
  page += stop_html(data);
  section("timeline", "Calls in time",
          "<div class=\"drawing\">" + timeline_drawing(data) + "</div>" +
              "<p class=\"key\"><span class=\"queued\" style=\"background:var(--wait)\"></span>"
              "queued<span style=\"background:var(--first)\"></span>until the first token"
              "<span style=\"background:var(--done)\"></span>answered"
              "<span style=\"background:var(--again)\"></span>answered after a retry"
              "<span style=\"background:var(--ok)\"></span>a tool ran"
              "<span style=\"background:var(--bad)\"></span>refused or failed</p>\n");
  section("tokens", "Tokens and cost",
          "<div class=\"drawing\">" + token_drawing(data) + "</div>\n");
  section("calls", "Calls", calls_html(data));
  section("waits", "Waits", waits_html(data));
  const std::string level = level_drawing(data);
  section("quota", "What was left of the quota",
          level.empty() ? level : "<div class=\"drawing\">" + level + "</div>\n");
  section("findings", "What the doctor says", findings_html(data.diagnosis));
  section("transcript", "Transcript", transcript_html(data));
  if (const auto program = parse_json(data.run.program)) {
    section("configuration", "Configuration",
            fmt::format("<pre>{}</pre>\n", html_text(program->dump(2))));
  }
  return page + "</body></html>\n";
}

}  // namespace moderato
