#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include <moderato/agents/code_execution/code_executor.hpp>
#include <moderato/agents/conversation.hpp>
#include <moderato/agents/worker_call.hpp>
#include <moderato/core/digest.hpp>
#include <moderato/core/json.hpp>

namespace moderato {
namespace {

Json encode_code(const Result<CodeResult>& result) {
  if (result) return {{"exit_code", result->exit_code}, {"output", valid_utf8(result->output)}};
  return {{"error", to_string(result.error().code)},
          {"message", valid_utf8(result.error().message)}};
}

Result<Result<CodeResult>> decode_code(const Json& json) {
  if (json.contains("exit_code")) {
    return Result<CodeResult>(CodeResult{static_cast<int>(whole_number(json.at("exit_code"))),
                                         json.at("output").get<std::string>()});
  }
  const auto code = error_code_from_string(json.at("error").get<std::string>());
  if (!code) return fail(ErrorCode::storage, "a recorded code result has an unknown error");
  return Result<CodeResult>(fail(*code, json.at("message").get<std::string>()));
}

// How many of the newest messages may hold the code: those since this agent last spoke.
std::size_t since_it_spoke(std::span<const MessagePtr> messages) {
  const auto own = std::find_if(messages.rbegin(), messages.rend(), [](const MessagePtr& message) {
    return (*message)->role != Role::user;
  });
  return static_cast<std::size_t>(own - messages.rbegin());
}

std::vector<CodeBlock> newest_code(const CodeExecution& settings,
                                   std::span<const MessagePtr> messages) {
  const std::size_t most =
      std::min(settings.last_n_messages.value_or(since_it_spoke(messages)), messages.size());
  for (std::size_t back = 1; back <= most; ++back) {
    const std::string text = (*messages[messages.size() - back])->text();
    if (text.empty()) continue;
    if (auto blocks = settings.executor->extract(text); !blocks.empty()) return blocks;
  }
  return {};
}

std::string languages_of(const std::vector<CodeBlock>& blocks) {
  std::string languages;
  for (const CodeBlock& block : blocks) {
    languages += (languages.empty() ? "" : ", ") +
                 (block.language.empty() ? std::string("unknown") : block.language);
  }
  return languages;
}

std::string digest_of(const std::vector<CodeBlock>& blocks) {
  Digest digest;
  for (const CodeBlock& block : blocks) digest.add(block.language).add(block.code);
  std::string words = digest.hex();
  for (const CodeBlock& block : blocks) {
    words += fmt::format(" {}: {}", block.language, valid_utf8(block.code.substr(0, 80)));
  }
  return words;
}

}  // namespace

Result<CodeResult> Conversation::run_code(Turn& turn, const std::vector<CodeBlock>& blocks) {
  const bool interrupted = session_.effects().next_was_interrupted();
  const InterruptedTools choice = session_.options().interrupted_tools;
  if (interrupted && choice == InterruptedTools::stop) {
    return fail(ErrorCode::interrupted,
                "code was running when the run was interrupted, and it is not known how far it "
                "came: resume with interrupted_tools = run_again or tell_model");
  }
  const Instant began = session_.runtime().clock().now();
  notify([&] {
    return ToolStarted{.agent = turn.name(), .tool = "code", .arguments = languages_of(blocks)};
  });
  // The job may outlive this call, so it owns what it uses.
  const auto run = [&]() -> Result<CodeResult> {
    if (interrupted && choice == InterruptedTools::tell_model) {
      return CodeResult{.exit_code = 1, .output = "interrupted; it is not known how far it came"};
    }
    auto result = std::make_shared<CodeResult>();
    auto done = call_on_worker(
        session_.runtime(),
        [result, blocks, executor = turn.self.agent.options().code_execution.executor](
            const std::stop_token& stop, const TellProgress&) -> Result<std::string> {
          auto ended = executor->execute(blocks, stop);
          if (!ended) return fail(std::move(ended).error());
          *result = std::move(*ended);
          return std::string();
        },
        base_.deadline, base_.stop);
    if (!done) return fail(std::move(done).error());
    return std::move(*result);
  };
  auto effect = session_.effects().effect<Result<CodeResult>>(
      EffectKind::code_execution, turn.name(), [&] { return digest_of(blocks); }, run, encode_code,
      decode_code);
  Result<CodeResult> result =
      effect ? std::move(*effect) : Result<CodeResult>(fail(std::move(effect).error()));
  notify([&] {
    return ToolFinished{.agent = turn.name(),
                        .tool = "code",
                        .ok = result && result->exit_code == 0,
                        .took = session_.runtime().clock().now() - began,
                        .result = result ? result->output : result.error().message};
  });
  return result;
}

// A program that fails is an answer for whoever wrote it. That there is no way to run any program
// is not: it ends the chat, and says what to change.
Reply Conversation::code_execution_reply(Turn& turn) {
  const CodeExecution& settings = turn.self.agent.options().code_execution;
  if (!settings.executor) return Reply::pass();
  auto found =
      guarded("code extraction", turn.name(), [&] { return newest_code(settings, turn.messages); });
  if (!found) return Reply::none(std::move(found).error());
  if (found->empty()) return Reply::pass();
  auto result = run_code(turn, *found);
  if (!result) {
    return Reply::none(stop_from(std::move(result).error(), turn.name(), StopReason::tool_error));
  }
  if (Stop stop = external_stop(turn.name())) return Reply::none(std::move(stop));
  return Reply::say(
      Message::assistant(fmt::format(
          "exitcode: {} ({})\nCode output: {}", result->exit_code,
          result->exit_code == 0 ? "execution succeeded" : "execution failed", result->output)),
      MessageKind::code_result);
}

}  // namespace moderato
