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

/// A line of time from the first request to the last answer.
struct TimeLine {
  explicit TimeLine(const std::vector<CallRecord>& calls) {
    for (const CallRecord& call : calls) {
      if (call.attempt == 0) continue;
      const WallTime asked = call.sent_at - call.queue_wait;
      if (begin == WallTime{} || asked < begin) begin = asked;
      end = std::max(end, call.sent_at + call.latency);
    }
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
  const TimeLine line(data.calls);
  std::map<std::string, int> lanes;
  for (const CallRecord& call : data.calls) {
    if (call.attempt > 0) lanes.emplace(call.agent, 0);
  }
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
      budget = std::max(budget, event.value("total", std::int64_t{0}));
    }
  }
  const double top = 1.05 * static_cast<double>(std::max<std::int64_t>({1, all, budget}));
  const auto y = [&](std::int64_t tokens) { return 180 - 170 * static_cast<double>(tokens) / top; };
  std::string points = fmt::format("0,{:.1f}", y(0));
  std::int64_t sum = 0;
  for (const CallRecord* call : calls) {
    const double x = line.x(call->sent_at + call->latency);
    points += fmt::format(" {:.1f},{:.1f}", x, y(sum));
    sum += call->usage.total();
    points += fmt::format(" {:.1f},{:.1f}", x, y(sum));
  }
  std::string drawing = fmt::format("<polyline class=\"tokens\" points=\"{}\"/>\n", points);
  drawing += fmt::format(
      "<text class=\"axis\" x=\"{}\" y=\"{:.0f}\" text-anchor=\"end\">{} tokens"
      "{}</text>\n",
      width, y(sum) - 4, sum, cost > 0 ? fmt::format(", cost {:.6f}", cost) : "");
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

}  // namespace moderato
