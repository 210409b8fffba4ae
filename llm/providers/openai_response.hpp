#pragma once

// Private header of the library: not installed.

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <moderato/core/result.hpp>
#include <moderato/llm/provider.hpp>

namespace moderato {

/// JSON of a server, read without trust: what is absent or of another type than expected is as if
/// it were not there.
class OpenAIJson {
 public:
  OpenAIJson() = default;
  explicit OpenAIJson(simdjson::dom::element element) : element_(element), present_(true) {}

  /// The member; an absent one if there is none or it is null.
  [[nodiscard]] OpenAIJson operator[](std::string_view name) const noexcept;
  [[nodiscard]] explicit operator bool() const noexcept { return present_; }
  /// The text; empty if it is none. Valid until the parser is used again.
  [[nodiscard]] std::string_view text() const noexcept;
  /// A text, or a list of parts with `text` members joined.
  [[nodiscard]] std::string joined_text() const;
  [[nodiscard]] bool is_text() const noexcept { return present_ && element_.is_string(); }
  [[nodiscard]] std::optional<std::int64_t> number() const noexcept;
  [[nodiscard]] bool is_list() const noexcept { return present_ && element_.is_array(); }
  /// The first of a list; absent if it is empty or no list.
  [[nodiscard]] OpenAIJson first() const noexcept;
  /// f(item) for each of a list; none if it is no list.
  template <class F>
  void each(F&& f) const {
    simdjson::dom::array items;
    if (!is_list() || element_.get(items)) return;
    for (const auto item : items) f(OpenAIJson(item));
  }
  [[nodiscard]] std::string dump() const;

 private:
  simdjson::dom::element element_{};
  bool present_ = false;
};

/// Parses a server's JSON; bytes that are not UTF-8 become U+FFFD. The result lives as long as
/// `parser` is not used again. Errors: protocol, with the beginning of the text.
[[nodiscard]] Result<OpenAIJson> parse_openai_json(simdjson::dom::parser& parser,
                                                   std::string_view text, std::string_view what);

/// `usage` of an answer; source none if it is absent or does not tell both counts (some servers
/// report zeros). Output is total_tokens less the prompt where that is more than completion_tokens.
[[nodiscard]] Usage read_openai_usage(const OpenAIJson& usage);

/// False if something was said and the usage counts no output for it.
[[nodiscard]] bool is_bill_for(const Usage& usage, const Message& message) noexcept;

/// Arguments as a text: some servers send an object.
[[nodiscard]] std::string read_openai_arguments(const OpenAIJson& arguments);

/// Reads a whole answer into outcome.reply. Errors there: protocol (not JSON, no choices; the text
/// quotes the beginning of the body), content_filtered (nothing was said because of a filter), and
/// what an `error` member in it means. The usage that it reports is in usage_so_far of a failure.
void read_openai_reply(std::string_view body, ProviderOutcome& outcome);

/// The error for an answer that a filter left without words.
[[nodiscard]] tl::unexpected<Error> openai_filtered();

}  // namespace moderato
