#pragma once

#include <moderato/core/doctor/diagnosis.hpp>
#include <moderato/core/journal/sqlite_journal.hpp>
#include <moderato/core/json.hpp>
#include <string>
#include <vector>

namespace moderato {

/// What a report is made from.
struct ReportData {
  RunInfo run{};
  std::vector<Json> events{};  ///< As SqliteJournal::events gives them.
  std::vector<CallRecord> calls{};
  Diagnosis diagnosis{};
};

/// One HTML file that needs nothing else: no network, no script. What agents, tools and people said
/// is shown as text, whatever is in it.
[[nodiscard]] std::string report_page(const ReportData& data);

/// `text` for HTML, in elements and in attributes.
[[nodiscard]] std::string html_text(std::string_view text);

/// Code for HTML: strings, comments, numbers and common words of any language are marked.
[[nodiscard]] std::string code_html(std::string_view code);

/// The drawings: calls and tools in time, one lane for each agent; tokens and cost over time,
/// against the budget if there was one; what the provider said is left of its quota. Each is an SVG
/// element, or empty if there is nothing to draw.
[[nodiscard]] std::string timeline_drawing(const ReportData& data);
[[nodiscard]] std::string token_drawing(const ReportData& data);
[[nodiscard]] std::string level_drawing(const ReportData& data);

}  // namespace moderato
