#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "report_page.hpp"

namespace moderato {
namespace {

constexpr double width = 1000;

double in_seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

/// When a tool ran, by the wall clock.
struct ToolBar {
  std::string agent{};
  std::string tool{};
  bool ok = true;
  WallTime began{};
  WallTime ended{};
};

/// Events are told in the runtime's time and calls in the wall clock's; the last request is in
/// both.
std::vector<ToolBar> tool_bars(const ReportData& data) {
  const CallRecord* last_call = nullptr;
  for (const CallRecord& call : data.calls) {
    if (call.attempt == 0 || call.cached) continue;
    if (last_call == nullptr || call.sent_at > last_call->sent_at) last_call = &call;
  }
  const auto at = [](const Json& event) { return event.value("at", 0.0); };
  const Json* last_sent = nullptr;
  for (const Json& event : data.events) {
    if (event.value("event", "") != "call_sent") continue;
    if (last_sent == nullptr || at(event) > at(*last_sent)) last_sent = &event;
  }
  std::vector<ToolBar> runs;
  if (last_call == nullptr || last_sent == nullptr) return runs;
  const auto duration = [](double seconds) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
  };
  for (const Json& event : data.events) {
    if (event.value("event", "") != "tool_finished") continue;
    const WallTime ended = last_call->sent_at + duration(at(event) - at(*last_sent));
    runs.push_back({.agent = event.value("agent", ""),
                    .tool = event.value("tool", ""),
                    .ok = event.value("ok", true),
                    .began = ended - duration(event.value("took", 0.0)),
                    .ended = ended});
  }
  return runs;
}

/// A line of time from the first request to the last answer.
struct TimeLine {
  explicit TimeLine(const std::vector<CallRecord>& calls, const std::vector<ToolBar>& tools = {}) {
    const auto include = [this](WallTime from, WallTime to) {
      if (begin == WallTime{} || from < begin) begin = from;
      end = std::max(end, to);
    };
    for (const CallRecord& call : calls) {
      if (call.attempt > 0) include(call.sent_at - call.queue_wait, call.sent_at + call.latency);
    }
    for (const ToolBar& run : tools) include(run.began, run.ended);
    seconds = std::max(0.001, in_seconds(end - begin));
  }
  [[nodiscard]] double x(WallTime at) const { return width * in_seconds(at - begin) / seconds; }

  WallTime begin{};
  WallTime end{};
  double seconds = 1;
};

std::string bar(double x, double wide, double y, const char* kind, const std::string& title) {
  return fmt::format(
      "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.0f}\" width=\"{:.1f}\" height=\"14\">"
      "<title>{}</title></rect>\n",
      kind, x, y, std::max(1.5, wide), html_text(title));
}

std::string in_words(double seconds) {
  if (seconds >= 600) return fmt::format("{:.0f} min", seconds / 60);
  return seconds >= 100 ? fmt::format("{:.0f} s", seconds) : fmt::format("{:.3g} s", seconds);
}

std::string seconds_axis(double seconds, double y) {
  std::string axis;
  for (int i = 0; i <= 4; ++i) {
    axis +=
        fmt::format("<text class=\"axis\" x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"{}\">{}</text>\n",
                    width * i / 4, y, i == 0 ? "start" : (i == 4 ? "end" : "middle"),
                    in_words(seconds * i / 4));
  }
  return axis;
}

}  // namespace

std::string timeline_drawing(const ReportData& data) {
  const std::vector<ToolBar> tools = tool_bars(data);
  const TimeLine line(data.calls, tools);
  std::map<std::string, int> lanes;
  for (const CallRecord& call : data.calls) {
    if (call.attempt > 0) lanes.emplace(call.agent, 0);
  }
  for (const ToolBar& run : tools) lanes.emplace(run.agent, 0);
  if (lanes.empty()) return {};
  int number = 0;
  std::string drawing;
  for (auto& [agent, lane] : lanes) {
    lane = number++;
    drawing += fmt::format("<text class=\"lane\" x=\"0\" y=\"{}\">{}</text>\n", 12 + 44 * lane,
                           html_text(agent));
  }
  for (const CallRecord& call : data.calls) {
    if (call.attempt == 0) continue;
    const double y = 18 + 44 * lanes[call.agent];
    const std::string what =
        fmt::format("{} {}, attempt {}: {:.2f} s, {} tokens, {}", to_string(call.purpose),
                    call.model, call.attempt, in_seconds(call.latency), call.usage.total(),
                    call.ok() ? "ok" : std::string(to_string(*call.error)));
    if (call.queue_wait > Duration::zero()) {
      const WallTime asked = call.sent_at - call.queue_wait;
      drawing += bar(line.x(asked), line.x(call.sent_at) - line.x(asked), y, "queued",
                     fmt::format("waited {:.2f} s for {}", in_seconds(call.queue_wait),
                                 call.wait_reason.empty() ? "its turn" : call.wait_reason));
    }
    const WallTime first = call.sent_at + call.time_to_first_token.value_or(Duration::zero());
    if (call.time_to_first_token) {
      drawing += bar(line.x(call.sent_at), line.x(first) - line.x(call.sent_at), y, "sent", what);
    }
    drawing += bar(line.x(first), line.x(call.sent_at + call.latency) - line.x(first), y,
                   call.ok() ? (call.attempt > 1 ? "retried" : "answered") : "refused", what);
  }
  for (const ToolBar& run : tools) {
    drawing += bar(line.x(run.began), line.x(run.ended) - line.x(run.began),
                   18 + 44 * lanes[run.agent], run.ok ? "tool" : "tool refused",
                   fmt::format("tool {}: {:.2f} s{}", run.tool, in_seconds(run.ended - run.began),
                               run.ok ? "" : ", failed"));
  }
  const int height = 44 * number + 18;
  return fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Calls in time\">\n{}{}"
      "</svg>\n",
      width, height, drawing, seconds_axis(line.seconds, height - 4));
}

std::string token_drawing(const ReportData& data) {
  const TimeLine line(data.calls);
  std::vector<const CallRecord*> calls;
  for (const CallRecord& call : data.calls) {
    if (call.attempt > 0) calls.push_back(&call);
  }
  if (calls.empty()) return {};
  std::sort(calls.begin(), calls.end(), [](const CallRecord* a, const CallRecord* b) {
    return a->sent_at + a->latency < b->sent_at + b->latency;
  });
  std::int64_t all = 0;
  double cost = 0;
  for (const CallRecord* call : calls) {
    all += call->usage.total();
    cost += call->cost;
  }
  std::int64_t budget = 0;
  for (const Json& event : data.events) {
    if (event.value("event", "") == "budget_changed") {
      budget = std::max(budget, whole_number(event, "total", 0));
    }
  }
  const double top = 1.05 * static_cast<double>(std::max<std::int64_t>({1, all, budget}));
  const auto y = [&](std::int64_t tokens) { return 180 - 170 * static_cast<double>(tokens) / top; };
  // The cost has a scale of its own: it ends at half the height.
  const auto cost_y = [&](double so_far) { return 180 - 90 * (cost > 0 ? so_far / cost : 0); };
  std::string points = fmt::format("0,{:.1f}", y(0));
  std::string cost_points = fmt::format("0,{:.1f}", y(0));
  std::int64_t sum = 0;
  double paid = 0;
  for (const CallRecord* call : calls) {
    const double x = line.x(call->sent_at + call->latency);
    points += fmt::format(" {:.1f},{:.1f}", x, y(sum));
    cost_points += fmt::format(" {:.1f},{:.1f}", x, cost_y(paid));
    sum += call->usage.total();
    paid += call->cost;
    points += fmt::format(" {:.1f},{:.1f}", x, y(sum));
    cost_points += fmt::format(" {:.1f},{:.1f}", x, cost_y(paid));
  }
  std::string drawing = fmt::format("<polyline class=\"tokens\" points=\"{}\"/>\n", points);
  if (cost > 0) drawing += fmt::format("<polyline class=\"cost\" points=\"{}\"/>\n", cost_points);
  drawing += fmt::format(
      "<text class=\"axis\" x=\"{}\" y=\"{:.0f}\" text-anchor=\"end\">{} tokens</text>\n", width,
      std::max(y(sum) - 4, 11.0), sum);
  if (cost > 0) {
    drawing += fmt::format(
        "<text class=\"axis\" x=\"{}\" y=\"{:.0f}\" text-anchor=\"end\">cost {:.6f}</text>\n",
        width, cost_y(cost) - 4, cost);
  }
  if (budget > 0) {
    drawing += fmt::format(
        "<line class=\"budget\" x1=\"0\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n"
        "<text class=\"axis\" x=\"0\" y=\"{:.0f}\">budget {}</text>\n",
        width, y(budget), y(budget), y(budget) - 4, budget);
  }
  return fmt::format(
      "<svg viewBox=\"0 0 {} 200\" role=\"img\" aria-label=\"Tokens in time\">\n{}{}"
      "</svg>\n",
      width, drawing, seconds_axis(line.seconds, 197));
}

std::string level_drawing(const ReportData& data) {
  struct Seen {
    WallTime at{};
    double left = 0;  // share of the limit
  };
  const auto shares = [&](auto limit, auto remaining) {
    std::vector<Seen> seen;
    for (const CallRecord& call : data.calls) {
      const auto& most = call.*limit;
      const auto& left = call.*remaining;
      if (call.attempt == 0 || !most || !left || *most <= 0) continue;
      const double share = static_cast<double>(*left) / static_cast<double>(*most);
      seen.push_back({call.sent_at + call.latency, std::clamp(share, 0.0, 1.0)});
    }
    std::sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.at < b.at; });
    return seen;
  };
  const TimeLine line(data.calls);
  std::string drawing;
  const auto draw = [&](const char* kind, const std::vector<Seen>& seen) {
    if (seen.empty()) return;
    std::string points;
    for (const Seen& one : seen) {
      points += fmt::format(" {:.1f},{:.1f}", line.x(one.at), 120 - 110 * one.left);
    }
    drawing += fmt::format("<polyline class=\"{}\" points=\"{}\"/>\n", kind, points.substr(1));
    drawing += fmt::format(
        "<text class=\"axis\" x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"end\">{} left: "
        "{:.0f} %</text>\n",
        line.x(seen.back().at), std::max(11.0, 116 - 110 * seen.back().left),
        kind == std::string_view("tokens") ? "tokens" : "requests", 100 * seen.back().left);
  };
  draw("tokens", shares(&CallRecord::limit_tokens, &CallRecord::remaining_tokens));
  draw("cost", shares(&CallRecord::limit_requests, &CallRecord::remaining_requests));
  if (drawing.empty()) return {};
  return fmt::format(
      "<svg viewBox=\"0 0 {} 140\" role=\"img\" aria-label=\"The quota in time\">\n{}{}"
      "</svg>\n",
      width, drawing, seconds_axis(line.seconds, 137));
}

}  // namespace moderato
