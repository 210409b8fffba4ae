#include <moderato/agents/human_input.hpp>

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <mutex>

#include <moderato/agents/stop_signal.hpp>

namespace moderato {
namespace {

// A blocking read of standard input cannot be woken by a stop token, and std::cin keeps bytes in a
// buffer of its own that poll() does not see. So the line is read byte by byte from the descriptor,
// after a poll on it and on the stop signal. A person types slowly: a
// system call a byte costs nothing here.
enum class Ready : std::uint8_t { input, stopped, broken };

Ready wait_for_input(int stop_fd, const std::stop_token& stop) {
  for (;;) {
    if (stop.stop_requested()) return Ready::stopped;
    std::array<pollfd, 2> both{{{STDIN_FILENO, POLLIN, 0}, {stop_fd, POLLIN, 0}}};
    if (::poll(both.data(), both.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return Ready::broken;
    }
    if (both[1].revents != 0) return Ready::stopped;
    if (both[0].revents != 0) return Ready::input;
  }
}

Result<std::string> read_line(const std::stop_token& stop) {
  const StopSignal signal(stop);
  std::string line;
  for (;;) {
    switch (wait_for_input(signal.fd(), stop)) {
      case Ready::stopped:
        return fail(ErrorCode::cancelled, "the wait for human input was cancelled");
      case Ready::broken:
        return fail(ErrorCode::human_unavailable, "standard input cannot be read");
      case Ready::input:
        break;
    }
    char byte = 0;
    const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      if (!line.empty()) return line;  // a last line without a newline
      return fail(ErrorCode::human_unavailable, "end of input: nobody is there to answer");
    }
    if (byte == '\n') {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      return line;
    }
    line += byte;
  }
}

}  // namespace

std::string_view to_string(HumanInputMode mode) noexcept {
  switch (mode) {
    case HumanInputMode::always:
      return "ALWAYS";
    case HumanInputMode::terminate:
      return "TERMINATE";
    case HumanInputMode::never:
      return "NEVER";
  }
  return "";
}

std::string prompt_text(HumanSituation situation, std::string_view agent, std::string_view peer) {
  switch (situation) {
    case HumanSituation::opening:
      return "> ";
    case HumanSituation::before_answer:
      return fmt::format(
          "Your answer to {} as {} (enter: automatic reply, exit: end the chat): ", peer, agent);
    case HumanSituation::on_termination:
      return fmt::format(
          "{} wants to end the chat. Your answer as {} (enter or exit: end the chat): ", peer,
          agent);
    case HumanSituation::tool_approval:  // worded by whoever knows the call
      return fmt::format("{}, may it run (yes, or why not)? ", agent);
    case HumanSituation::at_cap:
      return fmt::format(
          "{} has answered {} automatically as often as it may. Your answer (enter: one more "
          "automatic "
          "reply, exit: end the chat): ",
          agent, peer);
    case HumanSituation::choose_speaker:
      return "Number of the next speaker (enter: the next in order): ";
  }
  return {};
}

HumanInput::HumanInput() : HumanInput(console_input()) {}

HumanInput console_input() {
  return HumanInput([](const HumanPrompt& prompt) -> Result<std::string> {
    fmt::print("{}", prompt.text);
    std::fflush(stdout);
    return read_line(prompt.stop);
  });
}

namespace {

// `otherwise`: what is said when the answers are used up.
HumanInput listed_answers(std::vector<std::string> answers,
                          std::function<Error(const HumanPrompt&)> otherwise) {
  struct Script {
    std::mutex mutex;
    std::vector<std::string> answers;
    std::size_t next = 0;
  };
  auto script = std::make_shared<Script>();
  script->answers = std::move(answers);
  return HumanInput(
      [script, otherwise = std::move(otherwise)](const HumanPrompt& prompt) -> Result<std::string> {
        const std::scoped_lock lock(script->mutex);
        if (script->next == script->answers.size()) return fail(otherwise(prompt));
        return script->answers[script->next++];
      });
}

}  // namespace

HumanInput scripted_input(std::vector<std::string> answers) {
  const std::size_t count = answers.size();
  return listed_answers(std::move(answers), [count](const HumanPrompt&) {
    return Error{.code = ErrorCode::human_unavailable,
                 .message = fmt::format("all {} scripted answers are used up", count)};
  });
}

HumanInput pending_input(std::vector<std::string> answers) {
  return listed_answers(std::move(answers), [](const HumanPrompt& prompt) {
    return Error{.code = ErrorCode::awaiting_human, .message = prompt.text};
  });
}

}  // namespace moderato
