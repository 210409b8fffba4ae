#include <moderato/llm/tokens/token_estimator.hpp>

#include <algorithm>
#include <array>
#include <cstring>

#include <moderato/llm/tokens/fingerprint.hpp>

// Why measured prefixes
//
// A hard budget needs an upper bound of the prompt. Without the provider's tokenizer the only sure
// one is a token a byte, about four times the truth. A conversation sends its whole history each
// turn, so with that bound a budget of 20,000 tokens would stop a chat whose prompts are really
// 5,000.
//
// But the provider has counted all of the history except the newest messages: when the last reply
// came, it said how many tokens the prompt had. So: every prompt has an identity that is built up
// message by message (h₀ from tools and response format, hₖ = mix(hₖ₋₁, fingerprint of message k)).
// When the provider reports P tokens for a prompt, (identity → P) is remembered. The next prompt of
// the same conversation passes through that identity on its way; its bound is P + the bytes added
// after it.
//
// Example: 40 messages measured at 5,000 tokens, then a reply of 800 bytes and a question of 200.
// Bound by bytes: about 21,000. Bound by prefix: 5,000 + 1,000 + 2 × 16.
//
// The identity is made of content, not of addresses: memory that is reused cannot be mistaken for a
// history that is gone, and a history that was loaded from a journal is recognised. What is counted
// for one message (its fingerprint, bytes, images) is kept with the message like a dialect's bytes,
// so a turn looks at the text of new ones only; and where the request lends a memory of its list,
// the sums up to the newest message are kept in it, so that a turn does not look at older messages
// at all.

namespace moderato {
namespace {

constexpr std::int64_t expected_bytes_per_token = 4;
constexpr std::int64_t expected_per_message = 4;
constexpr std::int64_t expected_per_image = 800;
constexpr std::int64_t expected_per_tool = 8;
constexpr std::int64_t bound_per_request = 64;
constexpr std::int64_t bound_per_message = 16;
constexpr std::int64_t bound_per_image = 4096;
constexpr std::int64_t bound_per_tool = 32;

constexpr double calibration_weight = 0.1;
constexpr double min_calibration = 0.5;
constexpr double max_calibration = 3.0;

/// Prompts that are remembered at most are twice as many.
constexpr std::size_t max_remembered = 32'768;
/// How many messages a prompt may have more than the measured one that it begins with.
constexpr std::size_t max_added_messages = 32;

struct MessageFacts {
  std::uint64_t fingerprint = 0;
  std::int64_t text_bytes = 0;
  std::int64_t pieces = 1;  // messages and calls that it becomes on the wire
  std::int64_t images = 0;
};

/// Adds up what is sent as text, and names it.
class MessageReader {
 public:
  void text(std::string_view value) {
    fingerprint_.add(value);
    facts_.text_bytes += static_cast<std::int64_t>(value.size());
  }
  void mark(std::uint64_t number) { fingerprint_.add(number); }
  void piece() { ++facts_.pieces; }
  void image(const ImagePart& image) {
    fingerprint_.add(image.url).add(image.detail);
    ++facts_.images;
  }
  [[nodiscard]] MessageFacts facts() {
    facts_.fingerprint = fingerprint_.value();
    return facts_;
  }

 private:
  Fingerprint fingerprint_;
  MessageFacts facts_;
};

void read_content(MessageReader& reader, const Content& content) {
  if (!content.is_parts()) {
    reader.mark(content.is_null() ? 0 : 1);
    reader.text(content.as_text());
    return;
  }
  reader.mark(2 + content.parts().size());
  for (const ContentPart& part : content.parts()) {
    if (const auto* text = std::get_if<TextPart>(&part)) {
      reader.text(text->text);
    } else {
      reader.image(std::get<ImagePart>(part));
    }
  }
}

MessageFacts facts_of(const Message& message) {
  MessageReader reader;
  reader.mark(static_cast<std::uint64_t>(message.role));
  read_content(reader, message.content);
  reader.text(message.name);
  reader.text(message.tool_call_id);
  reader.text(message.refusal);
  for (const ToolCall& call : message.tool_calls) {
    reader.piece();
    reader.text(call.id);
    reader.text(call.name);
    reader.text(call.arguments);
  }
  if (message.function_call) {
    reader.piece();
    reader.text(message.function_call->name);
    reader.text(message.function_call->arguments);
  }
  for (const ToolResponse& response : message.tool_responses) {
    reader.piece();
    reader.mark(static_cast<std::uint64_t>(response.role));
    reader.text(response.tool_call_id);
    reader.text(response.content);
    reader.text(response.name);
  }
  return reader.facts();
}

const char facts_slot = 0;  // its address names the facts among a message's wire bytes

MessageFacts facts_of(const StoredMessage& message) {
  const std::string_view bytes = message.wire(&facts_slot, [](const Message& content) {
    const MessageFacts facts = facts_of(content);
    std::string kept(sizeof facts, '\0');
    std::memcpy(kept.data(), &facts, sizeof facts);
    return kept;
  });
  MessageFacts facts;
  std::memcpy(&facts, bytes.data(), sizeof facts);
  return facts;
}

std::uint64_t mix(std::uint64_t so_far, std::uint64_t next) noexcept {
  so_far = (so_far ^ next) * 0x9E3779B97F4A7C15U;
  return so_far ^ (so_far >> 32U);
}

/// The prompt up to some message.
struct Prefix : PromptMemory::Size {
  void add(const MessageFacts& facts) {
    identity = mix(identity, facts.fingerprint);
    text_bytes += facts.text_bytes;
    expected_fixed += facts.pieces * expected_per_message + facts.images * expected_per_image;
    bound_fixed += facts.pieces * bound_per_message + facts.images * bound_per_image;
  }
};

/// What settings add to the prompt: a schema, tools given as they are.
void add_settings(Prefix& prefix, const Sampling& sampling) {
  Fingerprint fingerprint(prefix.identity);
  const auto add = [&](std::string_view text) {
    fingerprint.add(text);
    prefix.text_bytes += static_cast<std::int64_t>(text.size());
  };
  fingerprint.add(sampling.tool_choice);
  if (!sampling.response_format.is_null()) add(dump_json(sampling.response_format));
  if (!sampling.extra.is_null()) add(dump_json(sampling.extra));
  prefix.identity = fingerprint.value();
}

}  // namespace

/// What comes before the messages.
PromptMemory::Size TokenEstimator::beginning(const ModelRequest& request,
                                             const Sampling& sampling) const {
  Prefix prefix;
  prefix.expected_fixed = expected_per_message;
  prefix.bound_fixed = bound_per_request;
  if (request.tools && !request.tools->empty()) {
    const auto tools = tools_.get(request.tools, [&] {
      ToolFacts facts;
      Fingerprint fingerprint;
      for (const ToolDefinition& tool : *request.tools) {
        const std::string schema = dump_json(tool.parameters);
        fingerprint.add(tool.name).add(tool.description).add(schema).add(tool.strict ? 1 : 0);
        facts.text_bytes +=
            static_cast<std::int64_t>(tool.name.size() + tool.description.size() + schema.size());
      }
      facts.fingerprint = fingerprint.value();
      return facts;
    });
    const auto count = static_cast<std::int64_t>(request.tools->size());
    prefix.identity = tools->fingerprint;
    prefix.text_bytes += tools->text_bytes;
    prefix.expected_fixed += count * expected_per_tool;
    prefix.bound_fixed += count * bound_per_tool;
  }
  add_settings(prefix, sampling);
  return prefix;
}

PromptSize TokenEstimator::measure(const ModelRequest& request, const Sampling& sampling) const {
  PromptMemory nothing;
  PromptMemory& memory = request.memory != nullptr ? *request.memory : nothing;
  const MessageList& list = request.messages;
  const PromptMemory::Size start = beginning(request, sampling);
  const bool goes_on = memory.start == start.identity && memory.measured.begins(list);
  if (!goes_on) {
    memory.known_messages = 0;
    memory.known = {};
    memory.known_tokens = 0;
  }
  const std::size_t read = goes_on ? memory.measured.messages : 0;
  Prefix whole{goes_on ? memory.whole : start};

  // The prompt without its newest message, without its newest two, … as far as it was read now.
  std::array<Prefix, max_added_messages + 1> before{};
  before[read % before.size()] = whole;
  for (std::size_t at = read; at < list.size(); ++at) {
    whole.add(facts_of(*list[at]));
    before[(at + 1) % before.size()] = whole;
  }

  const std::scoped_lock lock(mutex_);
  const std::size_t shortest = std::max<std::size_t>(read, 1);
  for (std::size_t added = 0; added <= max_added_messages && added + shortest <= list.size();
       ++added) {
    const Prefix& candidate = before[(list.size() - added) % before.size()];
    if (const auto tokens = measured(candidate.identity)) {
      memory.known = candidate;
      memory.known_tokens = *tokens;
      memory.known_messages = list.size() - added;
      break;
    }
  }
  if (list.size() - memory.known_messages > max_added_messages) {
    memory.known_messages = 0;
    memory.known = {};
    memory.known_tokens = 0;
  }
  memory.start = start.identity;
  memory.whole = whole;
  memory.measured.set(list);
  return size_of(memory);
}

/// The bound and the guess, from the part of the prompt that is known and what was added to it.
PromptSize TokenEstimator::size_of(const PromptMemory& memory) const {
  const PromptMemory::Size& whole = memory.whole;
  PromptSize size{.identity = whole.identity,
                  .text_bytes = whole.text_bytes,
                  .fixed_tokens = whole.expected_fixed};
  const std::int64_t new_bytes = whole.text_bytes - memory.known.text_bytes;
  size.upper_bound = memory.known_tokens + new_bytes + whole.bound_fixed - memory.known.bound_fixed;
  const auto guess = static_cast<std::int64_t>(static_cast<double>(new_bytes) * calibration_ /
                                               static_cast<double>(expected_bytes_per_token));
  size.expected =
      std::min(size.upper_bound, memory.known_tokens + guess + 1 + whole.expected_fixed -
                                     memory.known.expected_fixed);
  return size;
}

std::optional<std::int64_t> TokenEstimator::measured(std::uint64_t identity) const {
  if (const auto found = recent_.find(identity); found != recent_.end()) return found->second;
  if (const auto found = older_.find(identity); found != older_.end()) return found->second;
  return std::nullopt;
}

void TokenEstimator::learn(const PromptSize& size, std::int64_t tokens) {
  if (tokens <= 0) return;
  const std::scoped_lock lock(mutex_);
  if (recent_.size() >= max_remembered) {
    older_ = std::move(recent_);
    recent_.clear();
  }
  recent_[size.identity] = tokens;
  if (size.text_bytes < expected_bytes_per_token) return;
  const double ratio = static_cast<double>(tokens - size.fixed_tokens) *
                       static_cast<double>(expected_bytes_per_token) /
                       static_cast<double>(size.text_bytes);
  calibration_ += calibration_weight * (ratio - calibration_);
  calibration_ = std::clamp(calibration_, min_calibration, max_calibration);
}

double TokenEstimator::calibration() const {
  const std::scoped_lock lock(mutex_);
  return calibration_;
}

std::int64_t TokenEstimator::of_text(std::string_view text) noexcept {
  return (static_cast<std::int64_t>(text.size()) + expected_bytes_per_token - 1) /
         expected_bytes_per_token;
}

std::int64_t TokenEstimator::of_reply(const Message& message) {
  std::int64_t tokens = of_text(message.text()) + of_text(message.refusal);
  for (const ToolCall& call : message.tool_calls) {
    tokens += of_text(call.name) + of_text(call.arguments) + expected_per_message;
  }
  if (message.function_call) {
    tokens += of_text(message.function_call->name) + of_text(message.function_call->arguments);
  }
  return tokens;
}

}  // namespace moderato
