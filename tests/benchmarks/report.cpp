// How long a report takes: 10,000 messages of 60 words and as many calls, from a journal's content
// to the page. bench_report [MESSAGES [FILE]]. The bound is 2 s for 10,000; exit code 1 beyond it.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <report_page.hpp>

#include <moderato/core/event.hpp>

using namespace moderato;
using namespace std::chrono_literals;

namespace {

ReportData run_of(int messages) {
  ReportData data;
  data.run.id = "bench";
  CaseHistory history;
  for (int i = 0; i < messages; ++i) {
    std::string text = fmt::format("Message {}.", i);
    for (int word = 0; word < 60; ++word) text += fmt::format(" word{}", word * i % 97);
    if (i % 5 == 0) text += fmt::format("\n```cpp\nint answer() {{ return {}; }}  // so\n```", i);
    const std::string speaker = fmt::format("agent {}", i % 4);
    data.events.push_back(
        to_json(Event{.session = "bench",
                      .data = MessageAdded{{.speaker = speaker,
                                            .recipient = "user",
                                            .kind = MessageKind::reply,
                                            .message = store(Message::assistant(text))}}}));
    data.calls.push_back({.session = "bench",
                          .agent = speaker,
                          .attempt = 1,
                          .usage = {.input = 100 + i, .output = 80},
                          .queue_wait = 20ms,
                          .latency = 900ms,
                          .time_to_first_token = 300ms,
                          .http_status = 200,
                          .sent_at = WallTime(1'700'000'000s) + i * 1s});
  }
  history.calls = data.calls;
  data.diagnosis = diagnose(history);
  return data;
}

}  // namespace

int main(int argc, char** argv) {
  const int messages = argc > 1 ? std::atoi(argv[1]) : 10'000;
  const ReportData data = run_of(messages);
  const auto began = std::chrono::steady_clock::now();
  const std::string page = report_page(data);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  fmt::print("{} messages: {:.3f} s, {:.1f} MB\n", messages, seconds,
             static_cast<double>(page.size()) / 1e6);
  if (argc > 2) std::ofstream(argv[2], std::ios::binary) << page;
  return seconds < 2.0 * std::max(1.0, messages / 10'000.0) ? 0 : 1;
}
