#include <moderato/agents/tool_call.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <cctype>

#include <moderato/agents/worker_call.hpp>
#include <moderato/core/wait.hpp>

namespace moderato {
namespace {

constexpr std::size_t shown_arguments = 500;

std::string seconds(Duration duration) {
  return fmt::format("{:g} s", std::chrono::duration<double>(duration).count());
}

// What a tool that nobody waits for any more still does is not shown: who watched the chat may be
// gone.
Observer until(const std::stop_token& stop, Observer observer) {
  if (!observer) return observer;
  return Observer([stop, observer = std::move(observer)](const Event& event) {
    if (!stop.stop_requested()) observer(event);
  });
}

// One attempt.
Result<std::string> run_once(Runtime& runtime, const Tool& tool, const ToolCall& call,
                             ToolContext context, const CallContext& chat,
                             const std::shared_ptr<CallTotals>& totals) {
  const Instant limit = tool.timeout() > Duration::zero()
                            ? saturating_add(runtime.clock().now(), tool.timeout())
                            : no_deadline;
  context.deadline = std::min(limit, chat.deadline);
  context.context.deadline = context.deadline;
  if (tool.runs_inline() || tool.options().acts_in_session) {
    context.stop = chat.stop;
    return tool.call(call.arguments, context);
  }
  const TellProgress tell = std::exchange(context.progress, nullptr);
  auto result = call_on_worker(
      runtime,
      [tool, arguments = call.arguments, context, totals](const std::stop_token& stop,
                                                          const TellProgress& progress) mutable {
        context.stop = stop;
        context.context.stop = stop;
        context.context.observer = until(stop, context.context.observer);
        (void)totals;  // only kept alive
        context.progress = progress;
        return tool.call(arguments, context);
      },
      context.deadline, chat.stop, tell);
  if (!result && result.error().code == ErrorCode::deadline_exceeded && limit < chat.deadline) {
    return fail(ErrorCode::timeout,
                fmt::format("{} did not answer within {}", call.name, seconds(tool.timeout())));
  }
  return result;
}

// Evaluated where the tool would run, as a part of its effect: a replay does not ask again.
Result<void> approved(const Tool& tool, const ToolCall& call, const ToolContext& context) {
  const Approval::Rule& rule = tool.options().approval.rule();
  std::string why = "it was not approved";
  try {
    if (rule(call, context)) return {};
  } catch (const std::exception& error) {
    why = fmt::format("its approval failed: {}", error.what());
  } catch (...) {
    why = "its approval failed";
  }
  return fail(ErrorCode::tool_failed, fmt::format("{} was not run: {}", call.name, why));
}

}  // namespace

bool ends_the_chat(ErrorCode code) noexcept {
  return code == ErrorCode::cancelled || code == ErrorCode::deadline_exceeded ||
         code == ErrorCode::replay_mismatch || code == ErrorCode::storage ||
         code == ErrorCode::interrupted || code == ErrorCode::awaiting_human ||
         code == ErrorCode::human_unavailable;
}

const Tool* tool_for(const Turn& turn, std::string_view name) {
  if (const Tool* own = AgentDefinition::of(turn.self.agent).runnable(name)) return own;
  if (turn.sender == nullptr) return nullptr;
  const Tool* offered = AgentDefinition::of(*turn.sender).offered_tool(name);
  return offered != nullptr && offered->has_function() ? offered : nullptr;
}

Result<std::string> run_within(Runtime& runtime, const Tool& tool, const ToolCall& call,
                               ToolContext context, const CallContext& chat,
                               const std::shared_ptr<CallTotals>& totals) {
  if (tool.options().approval.rule()) {
    const auto ask = [&] { return approved(tool, call, context); };
    auto allowed = tool.options().acts_in_session ? ask() : runtime.on_worker(ask);
    if (!allowed) return fail(std::move(allowed).error());
  }
  Duration delay = tool.options().retry_delay;
  for (int attempt = 1;; ++attempt) {
    auto result = run_once(runtime, tool, call, context, chat, totals);
    if (result || result.error().code == ErrorCode::timeout) {
      if (!result) result = fail(ErrorCode::tool_failed, std::move(result.error().message));
      return result;
    }
    const bool may_help = result.error().code == ErrorCode::tool_failed &&
                          attempt < tool.options().max_attempts && tool.check(call.arguments);
    if (!may_help) return result;
    if (saturating_add(runtime.clock().now(), delay) >= chat.deadline) return result;
    if (sleep_for(delay, chat.stop) == Wake::cancelled) {
      return fail(ErrorCode::cancelled, "cancelled before a tool was tried again");
    }
    delay *= 2;
  }
}

std::string approval_question(std::string_view agent, const ToolCall& call) {
  std::string arguments;
  for (const char c : call.arguments.substr(0, shown_arguments)) {
    // A terminal would obey control characters: a model's words must not look like ours.
    const auto byte = static_cast<unsigned char>(c);
    arguments += byte < 0x20 || byte == 0x7F ? fmt::format("\\x{:02x}", byte) : std::string(1, c);
  }
  arguments = valid_utf8(arguments);
  if (call.arguments.size() > shown_arguments) {
    arguments += fmt::format("… and {} more bytes", call.arguments.size() - shown_arguments);
  }
  return fmt::format("{} is asked to run {}({}). May it (yes, or why not)? ", agent, call.name,
                     arguments);
}

std::optional<std::string> refusal_in(std::string_view answer, const ToolCall& call) {
  std::string word(answer);
  std::transform(word.begin(), word.end(), word.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  if (word == "yes" || word == "y") return std::nullopt;
  const std::string_view why = answer.empty() ? std::string_view("it was not approved") : answer;
  return fmt::format("{} was not run: {}", call.name, why);
}

}  // namespace moderato
