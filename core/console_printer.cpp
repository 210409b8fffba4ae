#include <moderato/core/console_printer.hpp>

#include <fmt/format.h>
#include <unistd.h>

#include <mutex>

namespace moderato {
namespace {

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

/// The first line of a text, at most `most` bytes, with an ellipsis if something was left out.
std::string shortened(std::string_view text, std::size_t most) {
  std::size_t end = std::min(text.find('\n'), text.size());
  if (end > most) {
    end = most;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  }
  return std::string(text.substr(0, end)) + (end < text.size() ? " …" : "");
}

class ConsolePrinter {
 public:
  ConsolePrinter(std::FILE* file, ConsoleOptions options)
      : file_(file),
        options_(options),
        colour_(options.colour == Colour::always ||
                (options.colour == Colour::automatic && ::isatty(::fileno(file)) == 1)) {}

  void print(const Event& event) {
    const std::scoped_lock lock(mutex_);
    std::visit(*this, event.data);
    std::fflush(file_);
  }

  void operator()(const TokenDelta& e) {
    if (streaming_ != e.agent) {
      end_stream();
      heading(e.agent, "");
      streaming_ = e.agent;
    }
    write(e.text);
  }
  void operator()(const MessageAdded& e) {
    const Message& message = **e.entry.message;
    const bool already_shown = streaming_ == e.entry.speaker;
    end_stream();
    if (e.entry.kind == MessageKind::tool_result) return;  // tool_finished told it
    if (!already_shown) {
      const std::string text = message.text();
      if (text.empty() && message.has_calls()) return;  // tool_started tells it
      heading(e.entry.speaker, e.entry.recipient);
      write(text.empty() ? "(nothing)" : text);
      write("\n\n");
    }
  }
  void operator()(const ToolStarted& e) {
    end_stream();
    line("2", fmt::format("{} calls {}({})", e.agent, e.tool, shortened(e.arguments, 120)));
  }
  void operator()(const ToolFinished& e) {
    end_stream();
    line(e.ok ? "2" : "31",
         fmt::format("{} {} {}", e.tool, e.ok ? "gave" : "failed:",
                     shortened(e.result, options_.max_tool_text)));
    write("\n");
  }
  void operator()(const CallQueued& e) {
    if (!options_.show_limits) return;
    end_stream();
    line("2", fmt::format("{} waits {:.2f} s for room ({})", e.agent, seconds(e.expected_wait),
                          e.reason));
  }
  void operator()(const CallRetried& e) {
    if (!options_.show_limits) return;
    end_stream();
    line("2", fmt::format("{} tries again in {:.2f} s: {}", e.agent, seconds(e.delay), e.why));
  }
  void operator()(const CallRejected& e) {
    if (!options_.show_limits) return;
    end_stream();
    line("31", to_string(e.error));
  }
  void operator()(const LoopSuspected& e) {
    end_stream();
    line("33", fmt::format("the conversation repeats itself ({}, {} times): {}", e.pattern, e.repeats,
                           shortened(e.evidence, 80)));
  }
  void operator()(const LimiterChanged& e) {
    if (!options_.show_limits) return;
    end_stream();
    line("33", fmt::format("limiter \"{}\" is {}: {}", e.key, e.state, e.why));
  }
  void operator()(const Warning& e) {
    end_stream();
    line("33", e.text);
  }
  void operator()(const Stopped& e) {
    end_stream();
    line("2", fmt::format("stopped: {}; {} calls, {} tokens", e.stop, e.calls, e.usage.total()));
  }
  // The rest is for machines.
  void operator()(const ChatStarted&) {}
  void operator()(const CallAdmitted&) {}
  void operator()(const CallSent&) {}
  void operator()(const CallFinished&) {}
  void operator()(const HumanAsked&) { end_stream(); }
  void operator()(const HumanAnswered&) {}
  void operator()(const BudgetChanged&) {}

 private:
  void write(std::string_view text) { std::fwrite(text.data(), 1, text.size(), file_); }
  void end_stream() {
    if (streaming_.empty()) return;
    streaming_.clear();
    write("\n\n");
  }
  void styled(std::string_view style, std::string_view text) {
    write(colour_ ? fmt::format("\x1b[{}m{}\x1b[0m", style, text) : std::string(text));
  }
  void line(std::string_view style, std::string_view text) {
    styled(style, fmt::format("  · {}", text));
    write("\n");
  }
  void heading(std::string_view speaker, std::string_view recipient) {
    styled("1;36", speaker);
    if (!recipient.empty()) styled("2", fmt::format(" → {}", recipient));
    write("\n");
  }

  std::FILE* const file_;
  const ConsoleOptions options_;
  const bool colour_;
  std::mutex mutex_;
  std::string streaming_;  // whose pieces are being printed
};

}  // namespace

Observer console_printer(std::FILE* file, ConsoleOptions options) {
  return Observer([printer = std::make_shared<ConsolePrinter>(file, options)](const Event& event) {
    printer->print(event);
  });
}

}  // namespace moderato
