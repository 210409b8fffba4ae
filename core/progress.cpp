#include <moderato/core/progress.hpp>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace moderato {
namespace {

using namespace std::chrono_literals;

/// 1234567 → "1,234,567".
std::string grouped(std::int64_t number) {
  std::string text = std::to_string(number);
  const std::size_t first = number < 0 ? 1 : 0;
  for (std::size_t at = text.size(); at > first + 3; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

std::string in_words(Duration duration) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(duration).count();
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {} min", seconds / 3600, seconds % 3600 / 60);
}

/// One line without control characters: what a provider or a program says may hold anything.
std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7F ? ' ' : c;
  }
  return out;
}

/// The first `columns` characters of UTF-8 text.
std::string_view cut(std::string_view text, std::size_t columns) {
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    const bool begins = (static_cast<unsigned char>(text[at]) & 0xC0U) != 0x80U;
    if (begins && columns-- == 0) break;
  }
  return text.substr(0, at);
}

std::string bar(std::size_t done, std::size_t all) {
  constexpr std::size_t width = 40;
  const std::size_t full = all == 0 ? 0 : std::min(width, done * width / all);
  std::string out;
  for (std::size_t i = 0; i < width; ++i) out += i < full ? "━" : "─";
  return out;
}

struct Line {
  std::string_view name;
  std::string text;
};

}  // namespace

class Progress::State {
 public:
  State(std::FILE* file, ProgressOptions options)
      : file_(file),
        options_(std::move(options)),
        redrawn_(options_.form == ProgressForm::redrawn ||
                 (options_.form == ProgressForm::automatic && ::isatty(::fileno(file)) == 1)) {
    if (options_.every == Duration{}) options_.every = redrawn_ ? Duration(100ms) : Duration(10s);
  }

  void take(const Event& event) {
    const std::scoped_lock lock(mutex_);
    if (file_ == nullptr) return;
    now_ = event.at;
    if (!started_) started_ = shown_ = now_;
    std::visit([&](const auto& data) { note(event, data); }, event.data);
    if (now_ - shown_ >= options_.every) show();
  }
  void end() {
    const std::scoped_lock lock(mutex_);
    if (started_) show();
    file_ = nullptr;
  }
  std::string text() const {
    const std::scoped_lock lock(mutex_);
    return joined();
  }

 private:
  struct Failure {
    Instant at{};
    std::string text{};
  };

  void note(const Event& event, const ChatStarted&) {
    if (!is_within_another(event.session)) ++running_[event.session];
  }
  void note(const Event& event, const Stopped& stopped) {
    std::erase_if(waiting_, [&](const auto& one) { return one.first.first == event.session; });
    const auto found = running_.find(event.session);
    if (found == running_.end() || --found->second > 0) return;  // of a chat within the chat
    running_.erase(found);
    ++done_;
    if (!stopped.stop.error) return;
    ++failed_;
    fail(event.session, to_string(stopped.stop));
  }
  void note(const Event& event, const CallQueued& queued) {
    waiting_[{event.session, queued.agent}] = queued.reason;
  }
  void note(const Event& event, const CallAdmitted& admitted) {
    waiting_.erase({event.session, admitted.agent});
  }
  void note(const Event&, const CallSent&) {
    while (!sent_.empty() && sent_.front() <= now_ - 60s) sent_.pop_front();
    sent_.push_back(now_);
  }
  void note(const Event&, const CallFinished& finished) {
    tokens_ += finished.record.usage.total();
  }
  void note(const Event& event, const CallRejected& rejected) {
    waiting_.erase({event.session, rejected.record.agent});
    tokens_ += rejected.record.usage.total();
    fail(fmt::format("{}, {}", event.session, rejected.record.agent), to_string(rejected.error));
  }
  template <class Other>
  void note(const Event&, const Other&) {}

  /// A nested chat has the session "of/its/parent".
  bool is_within_another(const std::string& session) const {
    for (auto at = session.rfind('/'); at != std::string::npos && at > 0;
         at = session.rfind('/', at - 1)) {
      if (running_.contains(session.substr(0, at))) return true;
    }
    return false;
  }
  void fail(const std::string& whose, const std::string& what) {
    failures_.push_back({now_, one_line(fmt::format("{}: {}", whose, what))});
    if (failures_.size() > options_.errors) failures_.pop_front();
  }

  std::string chats() const {
    std::string text = options_.chats > 0 ? fmt::format("{} of {} done", done_, options_.chats)
                                          : fmt::format("{} done", done_);
    if (failed_ > 0) text += fmt::format(" ({} failed)", failed_);
    text += fmt::format(", {} running", running_.size());
    const std::size_t known = done_ + running_.size();
    if (options_.chats > known) text += fmt::format(", {} to come", options_.chats - known);
    return text;
  }
  std::string calls() const {
    const auto recent = sent_.end() - std::upper_bound(sent_.begin(), sent_.end(), now_ - 60s);
    std::string text = fmt::format("{} in the last minute", recent);
    if (options_.calls_per_minute > 0) text += fmt::format(" of {}", options_.calls_per_minute);
    if (waiting_.empty()) return text;
    std::set<std::string_view> reasons;
    for (const auto& [whose, reason] : waiting_) reasons.insert(reason);
    return text + fmt::format(", {} wait ({})", waiting_.size(), fmt::join(reasons, ", "));
  }
  std::string tokens() const {
    if (!options_.budget) return grouped(tokens_);
    return fmt::format("{} of {}", grouped(options_.budget->spent()),
                       grouped(options_.budget->total()));
  }
  std::optional<std::string> finish() const {
    if (done_ == 0 || options_.chats <= done_) return std::nullopt;
    const double left = static_cast<double>(options_.chats - done_) / static_cast<double>(done_);
    const auto passed = std::chrono::duration<double>(now_ - *started_);
    return "in about " + in_words(std::chrono::duration_cast<Duration>(passed * left));
  }
  std::string joined() const {
    std::string text = fmt::format("chats {}; calls {}; tokens {}", chats(), calls(), tokens());
    if (const auto when = finish()) text += "; finish " + *when;
    if (!failures_.empty()) text += "; last error " + failures_.back().text;
    return text;
  }

  void show() {
    shown_ = now_;
    if (redrawn_) {
      redraw();
    } else {
      const std::string took = in_words(now_ - *started_);
      fmt::print(file_, "after {}: {}\n", took, joined());
    }
    std::fflush(file_);
  }
  void redraw() {
    std::vector<Line> lines{
        {"chats", options_.chats > 0 ? bar(done_, options_.chats) + "  " + chats() : chats()},
        {"calls", calls()},
        {"tokens", tokens()}};
    if (const auto when = finish()) lines.push_back({"finish", *when});
    for (const Failure& failure : failures_) {
      lines.push_back(
          {"error", fmt::format("{} ({} ago)", failure.text, in_words(now_ - failure.at))});
    }
    std::string out;
    if (drawn_ > 0) out += fmt::format("\x1b[{}A", drawn_);
    const std::size_t columns = width();
    for (const Line& line : lines) {
      out += fmt::format("\x1b[2K{}\n", cut(fmt::format("{:<8}{}", line.name, line.text), columns));
    }
    // A line that is there no more, and what follows it.
    if (lines.size() < drawn_) out += "\x1b[J";
    drawn_ = lines.size();
    std::fwrite(out.data(), 1, out.size(), file_);
  }
  /// A line that wraps could not be drawn over.
  std::size_t width() const {
    winsize size{};
    if (::ioctl(::fileno(file_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
      return size.ws_col - 1U;
    return 100;
  }

  mutable std::mutex mutex_;
  std::FILE* file_;
  ProgressOptions options_;
  const bool redrawn_;
  std::size_t drawn_ = 0;
  std::optional<Instant> started_;
  Instant now_{};
  Instant shown_{};
  std::map<std::string, int> running_;  // chats within chats of a session
  std::size_t done_ = 0;
  std::size_t failed_ = 0;
  std::deque<Instant> sent_;
  std::map<std::pair<std::string, std::string>, std::string> waiting_;
  std::int64_t tokens_ = 0;
  std::deque<Failure> failures_;
};

Progress::Progress(std::FILE* file, ProgressOptions options)
    : state_(std::make_shared<State>(file, std::move(options))) {}

Progress::~Progress() {
  state_->end();
}

Observer Progress::observer() const {
  return [state = state_](const Event& event) { state->take(event); };
}

std::string Progress::text() const {
  return state_->text();
}

}  // namespace moderato
