#include <moderato/core/console_printer.hpp>

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

// What is on the screen
//
// Three things decide what an event prints. Whether the last line is still open: a streamed text,
// or a tool call whose result may follow on the same line; whoever prints anything else ends that
// line first. What the last block was: a blank line stands between blocks, none between two notes.
// And the text that was streamed since the request went out: a message that equals it has been read
// already. Comparing texts, instead of remembering "this agent has streamed", also shows a reply
// that a hook changed after it was streamed, and one whose stream broke and was asked for again.

namespace moderato {
namespace {

constexpr std::string_view dim = "2";
constexpr std::string_view red = "31";
constexpr std::string_view yellow = "33";
// Speakers get these in the order in which they first speak.
constexpr std::array<std::string_view, 5> speaker_styles{"1;36", "1;32", "1;35", "1;34", "1;33"};

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

/// Without the control characters of C0 (but line feed and tab), DEL and C1.
std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
    if (byte == 0xC2 && next >= 0x80 && next < 0xA0) {  // U+0080 to U+009F
      ++i;
    } else if ((byte >= 0x20 && byte != 0x7F) || byte == '\n' || byte == '\t') {
      out += text[i];
    }
  }
  return out;
}

/// The first line of a text, at most `most` bytes, with an ellipsis if something was left out.
std::string shortened(std::string_view text, std::size_t most) {
  std::size_t end = std::min(text.find('\n'), text.size());
  if (end > most) {
    end = most;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  }
  return printable(text.substr(0, end)) + (end < text.size() ? " …" : "");
}

class ConsolePrinter {
 public:
  ConsolePrinter(std::FILE* file, ConsoleOptions options)
      : file_(file),
        options_(options),
        coloured_(options.colour == Colour::always ||
                  (options.colour == Colour::automatic && ::isatty(::fileno(file)) == 1)) {}

  void print(const Event& event) {
    const std::scoped_lock lock(mutex_);
    tell_rejection_before(event);
    std::visit(*this, event.data);
    std::fflush(file_);
  }

  void operator()(const TokenDelta& e) {
    if (streamed_.agent != e.agent) streamed_ = {.agent = e.agent};
    if (open_ != Open::text) {
      heading(e.agent);
      open_ = Open::text;
    }
    streamed_.text += e.text;
    write(printable(e.text));
  }
  void operator()(const CallSent& e) {
    if (streamed_.agent == e.agent) streamed_ = {};
  }
  void operator()(const MessageAdded& e) {
    const Message& message = **e.entry.message;
    const std::string text = message.text();
    const bool read_already =
        !text.empty() && streamed_.agent == e.entry.speaker && streamed_.text == text;
    streamed_ = {};
    end_line();
    if (read_already || e.entry.kind == MessageKind::tool_result) return;  // see ToolFinished
    if (text.empty() && message.has_calls()) return;                       // see ToolStarted
    heading(e.entry.speaker);
    write(text.empty() ? "(nothing)" : printable(text));
    write("\n");
  }
  void operator()(const ToolStarted& e) {
    begin_note();
    styled(dim, fmt::format("  · {}({})", printable(e.tool), shortened(e.arguments, 120)));
    open_ = Open::tool;
    open_call_ = e.call_id;
  }
  void operator()(const ToolProgress& e) {
    note(dim, fmt::format("{}: {}", printable(e.tool), shortened(e.text, 200)));
  }
  void operator()(const ToolFinished& e) {
    if (open_ != Open::tool || open_call_ != e.call_id) {  // others came in between
      begin_note();
      styled(dim, fmt::format("  · {}", printable(e.tool)));
    }
    open_ = Open::nothing;
    styled(e.ok ? dim : red,
           fmt::format(" {} {} ({:.2f} s)", e.ok ? "→" : "failed:",
                       shortened(e.result, options_.max_tool_text), seconds(e.took)));
    write("\n");
  }
  void operator()(const CallQueued& e) {
    if (!options_.show_limits) return;
    note(dim, fmt::format("{} waits{} for room ({})", e.agent,
                          seconds(e.expected_wait) < 0.005  // until a call ends, whenever that is
                              ? std::string()
                              : fmt::format(" {:.2f} s", seconds(e.expected_wait)),
                          e.reason));
  }
  void operator()(const CallRejected& e) {
    if (options_.show_limits) rejection_ = to_string(e.error);
  }
  void operator()(const CallRetried& e) {
    if (!options_.show_limits) return;
    note(dim, fmt::format("{} tries again in {:.2f} s: {}", e.agent, seconds(e.delay),
                          shortened(e.why, 200)));
  }
  void operator()(const LimiterChanged& e) {
    if (!options_.show_limits) return;
    note(yellow, fmt::format("limiter \"{}\" is {}: {}", e.key, e.state, shortened(e.why, 200)));
  }
  void operator()(const LoopSuspected& e) {
    note(yellow, fmt::format("the conversation repeats itself ({}, {} times): {}", e.pattern,
                             e.repeats, shortened(e.evidence, 80)));
  }
  void operator()(const ContextTrimmed& e) {
    if (!options_.show_limits) return;
    note(dim, fmt::format("{} is shown {} messages; {} messages and {} bytes are left out by {}",
                          printable(e.agent), e.messages_shown, e.messages_left_out,
                          e.bytes_left_out, printable(e.by)));
  }
  void operator()(const Warning& e) { note(yellow, printable(e.text)); }
  void operator()(const HumanAsked&) { end_line(); }  // the prompt follows
  void operator()(const Stopped& e) {
    note(e.stop.error ? red : dim,
         fmt::format("stopped: {}; {} calls, {} tokens", printable(to_string(e.stop)), e.calls,
                     e.usage.total()));
  }
  // The rest is for machines.
  void operator()(const ChatStarted&) {}
  void operator()(const CallAdmitted&) {}
  void operator()(const CallFinished&) {}
  void operator()(const HumanAnswered&) {}
  void operator()(const BudgetChanged&) {}

 private:
  enum class Open : std::uint8_t { nothing, text, tool };
  enum class Block : std::uint8_t { nothing, text, note };
  struct Streamed {
    std::string agent{};
    std::string text{};
  };

  /// A refusal that a retry follows is told by the retry, the last one by the stop; one that
  /// neither follows (a summary that failed, say) gets a line of its own.
  void tell_rejection_before(const Event& event) {
    if (rejection_.empty()) return;
    const auto* stopped = std::get_if<Stopped>(&event.data);
    const bool told = std::holds_alternative<CallRetried>(event.data) ||
                      (stopped != nullptr && stopped->stop.error.has_value());
    if (!told) note(red, shortened(rejection_, 200));
    rejection_.clear();
  }

  void write(std::string_view text) { std::fwrite(text.data(), 1, text.size(), file_); }
  void styled(std::string_view style, std::string_view text) {
    write(coloured_ ? fmt::format("\x1b[{}m{}\x1b[0m", style, text) : std::string(text));
  }
  void end_line() {
    if (open_ != Open::nothing) write("\n");
    open_ = Open::nothing;
  }
  void heading(const std::string& speaker) {
    end_line();
    if (last_ != Block::nothing) write("\n");
    last_ = Block::text;
    auto found = std::find(speakers_.begin(), speakers_.end(), speaker);
    if (found == speakers_.end()) found = speakers_.insert(speakers_.end(), speaker);
    const auto place = static_cast<std::size_t>(found - speakers_.begin());
    styled(speaker_styles[place % speaker_styles.size()], printable(speaker));
    write("\n");
  }
  void begin_note() {
    end_line();
    if (last_ == Block::text) write("\n");
    last_ = Block::note;
  }
  void note(std::string_view style, std::string_view text) {
    begin_note();
    styled(style, fmt::format("  · {}", text));
    write("\n");
  }

  std::FILE* const file_;
  const ConsoleOptions options_;
  const bool coloured_;
  std::mutex mutex_;
  Open open_ = Open::nothing;
  Block last_ = Block::nothing;
  std::string open_call_;  ///< The tool call of the open line.
  Streamed streamed_;
  std::string rejection_;
  std::vector<std::string> speakers_;
};

}  // namespace

Observer console_printer(std::FILE* file, ConsoleOptions options) {
  return Observer([printer = std::make_shared<ConsolePrinter>(file, options)](const Event& event) {
    printer->print(event);
  });
}

}  // namespace moderato
