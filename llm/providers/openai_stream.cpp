#include <moderato/llm/providers/openai_stream.hpp>

#include <fmt/format.h>

#include <algorithm>

#include <moderato/llm/providers/openai_error.hpp>

// How calls are put together
//
// A call comes in pieces: first its index, id and name, then its arguments a few characters at a
// time, each with the index. That is the rule; servers break it in three ways that are all
// understood here: no index at all (the piece belongs to the call of its id, or to the last one),
// the same index 0 for several whole calls that differ by id (a new id begins a new call), and the
// name repeated with every piece (it is not appended to itself).

namespace moderato {

Result<void> OpenAIStream::take(const SseEvent& event) {
  if (done_ || event.data.empty()) return {};
  if (event.data == "[DONE]") {
    done_ = true;
    return {};
  }
  constexpr std::string_view what = "a piece of the stream";
  const auto chunk = parse_openai_json(parser_, event.data, what);
  if (!chunk) {
    const auto shown = parse_openai_json(parser_, redact_(std::string(event.data)), what);
    return fail(shown ? chunk.error() : shown.error());
  }
  if ((*chunk)["error"] || event.event == "error") {
    return fail(read_openai_error(200, redact_(std::string(event.data)), quota_));
  }
  // The usage chunk is the last one; some servers send usage so far with every chunk.
  if (const Usage usage = read_openai_usage((*chunk)["usage"]); usage.source != UsageSource::none) {
    reply_.usage = usage;
  }
  if (reply_.model.empty()) reply_.model = (*chunk)["model"].text();
  const OpenAIJson choice = (*chunk)["choices"].first();
  if (!choice) return {};
  has_choice_ = true;
  if (const auto reason = choice["finish_reason"].text(); !reason.empty()) {
    reply_.finish_reason = reason;
  }
  return take_delta(choice["delta"]);
}

Result<void> OpenAIStream::take_delta(const OpenAIJson& delta) {
  if (const OpenAIJson content = delta["content"]) {
    has_text_ = true;
    // Nearly always a text; a list of parts has to be joined first.
    const std::string joined = content.is_text() ? std::string() : content.joined_text();
    const std::string_view piece = content.is_text() ? content.text() : std::string_view(joined);
    text_ += piece;
    if (!piece.empty()) {
      started_ = true;
      if (on_text_) on_text_(piece);
    }
  }
  if (const auto refusal = delta["refusal"].text(); !refusal.empty()) {
    started_ = true;
    reply_.message.refusal += refusal;
  }
  if (const OpenAIJson call = delta["function_call"]) {
    started_ = true;
    auto& known = reply_.message.function_call;
    if (!known) known.emplace();
    if (known->name != call["name"].text()) known->name += call["name"].text();
    known->arguments += read_openai_arguments(call["arguments"]);
  }
  Result<void> result;
  delta["tool_calls"].each([&](const OpenAIJson& call) {
    if (result) result = take_call(call);
  });
  return result;
}

Result<void> OpenAIStream::take_call(const OpenAIJson& delta) {
  started_ = true;
  const std::string_view id = delta["id"].text();
  Call* known = find_call(delta["index"], id);
  if (known == nullptr) {
    if (calls_.size() == max_calls) {
      return fail(ErrorCode::protocol, fmt::format("the reply has more than {} calls", max_calls));
    }
    const auto index = delta["index"].number().value_or(static_cast<std::int64_t>(calls_.size()));
    known = &calls_.emplace_back(Call{index, {}});
  }
  ToolCall& call = known->call;
  if (!id.empty()) call.id = id;
  const OpenAIJson function = delta["function"];
  if (const auto name = function["name"].text(); call.name != name) call.name += name;
  call.arguments += read_openai_arguments(function["arguments"]);
  return {};
}

OpenAIStream::Call* OpenAIStream::find_call(const OpenAIJson& index, std::string_view id) {
  const auto number = index.number();
  const auto belongs = [&](const Call& known) {
    if (!id.empty() && !known.call.id.empty()) return known.call.id == id;
    return !number || known.index == *number;
  };
  const auto found = std::find_if(calls_.rbegin(), calls_.rend(), belongs);
  return found == calls_.rend() ? nullptr : &*found;
}

void OpenAIStream::finish(Result<void> broken, ProviderOutcome& outcome) {
  if (started_ && reply_.usage.output == 0) reply_.usage = {};  // no bill for what was said
  if (reply_.usage.source != UsageSource::none) outcome.usage_so_far = reply_.usage;
  if (quota_.state) outcome.quota.state = quota_.state;
  if (quota_.retry_after && !outcome.quota.retry_after) {
    outcome.quota.retry_after = quota_.retry_after;
  }
  if (!complete()) {
    if (broken) {
      broken =
          fail(ErrorCode::protocol, done_ ? "the stream ended without a choice"
                                          : "the stream ended without [DONE] or finish_reason");
    }
    Error error = std::move(broken).error();
    if (started_) {
      error.message += fmt::format("; the reply broke off after {} bytes: {}", text_.size(),
                                   excerpt(redact_(text_)));
    }
    outcome.reply = fail(std::move(error));
    return;
  }
  if (has_text_) reply_.message.content = std::move(text_);
  reply_.message.role = Role::assistant;
  for (Call& call : calls_) reply_.message.tool_calls.push_back(std::move(call.call));
  if (reply_.finish_reason == "content_filter" && !started_) {
    outcome.reply = openai_filtered();
  } else {
    outcome.reply = std::move(reply_);
  }
}

}  // namespace moderato
