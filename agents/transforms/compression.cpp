#include <moderato/agents/transforms/compression.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include <moderato/agents/transforms/tool_exchange.hpp>

namespace moderato {
namespace {

// What has been summarised already, for one conversation as one agent sees it.
struct Summary {
  MessageList covered{};  // in order; a history that begins with them begins with the summary
  std::string text{};
};

// Kept with the session. A transform is a value in an agent and knows no conversation.
struct CompressionMemory {
  std::map<const void*, std::vector<Summary>> of_transform{};
};

bool same(const MessagePtr& a, const MessagePtr& b) {
  return a == b || **a == **b;
}

Summary* longest_prefix(std::vector<Summary>& known, const MessageList& messages) {
  Summary* best = nullptr;
  for (Summary& summary : known) {
    const std::size_t size = summary.covered.size();
    if (size > messages.size() || (best != nullptr && best->covered.size() >= size)) continue;
    if (std::equal(summary.covered.begin(), summary.covered.end(), messages.begin(), same)) {
      best = &summary;
    }
  }
  return best;
}

std::int64_t tokens_of(const Tokenizer& tokenizer, const MessageList& messages, std::size_t from) {
  std::int64_t tokens = 0;
  for (std::size_t i = from; i < messages.size(); ++i) {
    tokens += static_cast<std::int64_t>(tokenizer((*messages[i])->text()).size());
    for (const ToolCall& call : (*messages[i])->tool_calls) {
      tokens += static_cast<std::int64_t>(tokenizer(call.arguments).size());
    }
  }
  return tokens;
}

std::string written_out(const MessageList& messages, std::size_t from, std::size_t to) {
  std::string text;
  for (std::size_t i = from; i < to; ++i) {
    const Message& message = **messages[i];
    const std::string_view speaker =
        message.name.empty() ? to_string(message.role) : std::string_view(message.name);
    text += fmt::format("\n\n{}: {}", speaker, message.text());
    for (const ToolCall& call : message.tool_calls) {
      text += fmt::format("\n[calls {} {}]", call.name, call.arguments);
    }
  }
  return text;
}

bool ends_the_chat(ErrorCode code) {
  return code == ErrorCode::budget_exhausted || code == ErrorCode::cancelled ||
         code == ErrorCode::deadline_exceeded || code == ErrorCode::replay_mismatch ||
         code == ErrorCode::storage;
}

class Compressor {
 public:
  explicit Compressor(Compression settings) : settings_(std::move(settings)) {}

  Result<MessageList> operator()(MessageList messages, const TransformContext& context) const {
    auto& known = context.session.part<CompressionMemory>().of_transform[this];
    Summary* summary = longest_prefix(known, messages);
    const std::size_t covered = summary != nullptr ? summary->covered.size() : 0;
    if (tokens_of(settings_.tokenizer, messages, covered) > settings_.above_tokens) {
      const std::size_t end = compressible_end(messages);
      if (end > std::max(covered, first_free())) {
        auto text = summarise(messages, summary, end, context);
        if (!text && ends_the_chat(text.error().code)) return fail(std::move(text).error());
        if (text) {
          const auto cut = messages.begin() + static_cast<std::ptrdiff_t>(end);
          if (summary == nullptr) summary = &known.emplace_back();
          *summary = {.covered = {messages.begin(), cut}, .text = std::move(*text)};
        } else {
          context.call.notify(context.session.runtime().clock(), [&] {
            return Warning{.text = fmt::format("the older messages could not be summarised: {}",
                                               to_string(text.error()))};
          });
        }
      }
    }
    return summary != nullptr ? shown(messages, *summary) : messages;
  }

 private:
  [[nodiscard]] std::size_t first_free() const noexcept {
    return settings_.keep_first_message ? 1 : 0;
  }

  // Never between a call and its answer.
  [[nodiscard]] std::size_t compressible_end(const MessageList& messages) const {
    if (messages.size() <= settings_.keep_newest) return 0;
    return exchange_begin(messages, messages.size() - settings_.keep_newest);
  }

  [[nodiscard]] Result<std::string> summarise(const MessageList& messages, const Summary* so_far,
                                              std::size_t end,
                                              const TransformContext& context) const {
    const std::size_t from = std::max(so_far != nullptr ? so_far->covered.size() : 0, first_free());
    std::string text = settings_.prompt;
    if (so_far != nullptr) text += "\n\nSummary of what came before:\n" + so_far->text;
    text += written_out(messages, from, end);
    ModelRequest request{.messages = {store(Message::user(std::move(text)))}};
    request.sampling.max_output_tokens = settings_.max_summary_tokens;
    CallContext call = context.call;
    call.purpose = Purpose::summary;
    auto reply = settings_.model.complete(request, call);
    if (!reply) return fail(std::move(reply).error());
    std::string words = reply->message.text();
    if (words.empty()) return fail(ErrorCode::protocol, "the model gave an empty summary");
    return words;
  }

  [[nodiscard]] MessageList shown(const MessageList& messages, const Summary& summary) const {
    MessageList list;
    if (settings_.keep_first_message) list.push_back(messages.front());
    list.push_back(store(Message::user("Summary of the conversation so far:\n" + summary.text)));
    list.insert(list.end(), messages.begin() + static_cast<std::ptrdiff_t>(summary.covered.size()),
                messages.end());
    return list;
  }

  Compression settings_;
};

void require(bool holds, const char* otherwise) {
  if (!holds) throw std::invalid_argument(std::string("compress_history: ") + otherwise);
}

}  // namespace

Transform compress_history(Compression settings) {
  require(static_cast<bool>(settings.model), "a model is needed");
  require(settings.above_tokens > 0, "above_tokens must be positive");
  require(settings.keep_newest > 0, "keep_newest must be positive");
  require(settings.max_summary_tokens > 0, "max_summary_tokens must be positive");
  require(settings.tokenizer != nullptr, "a tokenizer is needed");
  std::string name = fmt::format("compress_history({}, above {} tokens)", settings.model.name(),
                                 settings.above_tokens);
  auto compressor = std::make_shared<const Compressor>(std::move(settings));
  return Transform(std::move(name),
                   [compressor](MessageList messages, const TransformContext& context) {
                     return (*compressor)(std::move(messages), context);
                   });
}

}  // namespace moderato
